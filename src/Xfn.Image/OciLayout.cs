using System.Text;
using Xfn.Core;

namespace Xfn.Image;

/// <summary>A directory that holds images.</summary>
/// <remarks>Every file is written under another name and renamed, so that readers find it whole or not at all. See
/// <see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md">Image Layout</see>.</remarks>
internal sealed class OciLayout(string directory)
{
    private const string Marker = "oci-layout";
    private const string RefName = "org.opencontainers.image.ref.name";

    /// <exception cref="ImageWriterException">The directory holds something else.</exception>
    public static OciLayout OpenOrCreate(string directory)
    {
        var layout = new OciLayout(directory);
        if (!File.Exists(layout.At(Marker)) && Directory.Exists(directory) && Directory.EnumerateFileSystemEntries(directory).Any())
            throw new ImageWriterException($"cannot write an image to '{directory}': it is not empty, and no OCI layout. Name another directory.");

        Directory.CreateDirectory(layout.At("blobs/sha256"));
        if (!File.Exists(layout.At("index.json")))
            layout.Replace("index.json", OciJson.Serialize(new ImageIndex { MediaType = MediaTypes.OciIndex, Manifests = [] }));
        layout.Replace(Marker, Encoding.UTF8.GetBytes("""{"imageLayoutVersion":"1.0.0"}"""));
        return layout;
    }

    public Descriptor WriteBlob(string mediaType, byte[] content)
    {
        Digest digest = Digest.Compute(content);
        Replace(BlobPath(digest), content);
        return new Descriptor { MediaType = mediaType, Digest = digest, Size = content.Length };
    }

    public WrittenLayer WriteLayer(IEnumerable<LayerFile> files)
    {
        string temporary = At(".layer-" + Guid.NewGuid().ToString("N"));
        try
        {
            WrittenLayer layer;
            using (FileStream file = File.Create(temporary))
                layer = LayerWriter.Write(files, file);
            File.Move(temporary, At(BlobPath(layer.Descriptor.Digest)), overwrite: true);
            return layer;
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Names a manifest; what had that name before stays as a blob.</summary>
    public void Tag(Descriptor manifest, string? tag)
    {
        ImageIndex index = OciJson.ParseIndex(File.ReadAllBytes(At("index.json")));
        Descriptor named = tag is null ? manifest : manifest with { Annotations = new Dictionary<string, string> { [RefName] = tag } };
        Replace("index.json", OciJson.Serialize(index with { Manifests = [.. index.Manifests.Where(m => m.Annotations?.GetValueOrDefault(RefName) != tag), named] }));
    }

    private static string BlobPath(Digest digest) => $"blobs/{digest.Algorithm}/{digest.Hex}";

    private string At(string name) => Path.Combine(directory, name);

    private void Replace(string name, byte[] content)
    {
        string temporary = At(".file-" + Guid.NewGuid().ToString("N"));
        File.WriteAllBytes(temporary, content);
        File.Move(temporary, At(name), overwrite: true);
    }
}
