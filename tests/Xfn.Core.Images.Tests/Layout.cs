using System.Formats.Tar;
using System.IO.Compression;
using System.Text.Json.Nodes;

namespace Xfn.Core.Images.Tests;

/// <summary>An OCI layout, as anybody reads it.</summary>
internal sealed class Layout(string directory)
{
    public ImageIndex Index => OciJson.ParseIndex(File.ReadAllBytes(Path.Combine(directory, "index.json")));

    public ImageManifest Manifest(string? tag = null) =>
        OciJson.ParseManifest(Blob(Index.Manifests.Single(m => m.Annotations?.GetValueOrDefault("org.opencontainers.image.ref.name") == tag)));

    public JsonNode Config(ImageManifest manifest) => JsonNode.Parse(Blob(manifest.Config))!;

    public byte[] Blob(Descriptor descriptor) => File.ReadAllBytes(Path.Combine(directory, "blobs", "sha256", descriptor.Digest.Hex));

    public byte[] Archive(Descriptor layer)
    {
        using var gzip = new GZipStream(new MemoryStream(Blob(layer)), CompressionMode.Decompress);
        using var archive = new MemoryStream();
        gzip.CopyTo(archive);
        return archive.ToArray();
    }

    public IReadOnlyList<TarEntry> Entries(Descriptor layer)
    {
        using var archive = new TarReader(new MemoryStream(Archive(layer)));
        var entries = new List<TarEntry>();
        while (archive.GetNextEntry(copyData: true) is { } entry)
            entries.Add(entry);
        return entries;
    }
}
