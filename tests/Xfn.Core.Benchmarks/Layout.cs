namespace Xfn.Core.Benchmarks;

/// <summary>Writes OCI layouts.</summary>
internal static class Layout
{
    /// <returns>A reference to the image.</returns>
    public static string Write(string directory, Func<IReadOnlyList<Digest>, ImageConfig> config, IReadOnlyList<(byte[] Blob, Digest DiffId, string MediaType)> layers)
    {
        string blobs = Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256")).FullName;
        Descriptor configuration = Store(OciJson.Serialize(config([.. layers.Select(l => l.DiffId)])), MediaTypes.OciConfig);
        Descriptor manifest = Store(
            OciJson.Serialize(new ImageManifest { MediaType = MediaTypes.OciManifest, Config = configuration, Layers = [.. layers.Select(l => Store(l.Blob, l.MediaType))] }),
            MediaTypes.OciManifest);
        File.WriteAllText(Path.Combine(directory, "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""");
        File.WriteAllBytes(Path.Combine(directory, "index.json"), OciJson.Serialize(new ImageIndex { Manifests = [manifest] }));
        return $"oci:{directory}";

        Descriptor Store(byte[] content, string mediaType)
        {
            Digest digest = Digest.Compute(content);
            File.WriteAllBytes(Path.Combine(blobs, digest.Hex), content);
            return new Descriptor { MediaType = mediaType, Digest = digest, Size = content.Length };
        }
    }
}
