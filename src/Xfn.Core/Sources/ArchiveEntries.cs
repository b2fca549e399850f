using System.Collections.Concurrent;
using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core.Sources;

/// <summary>What an archive holds, by name and by digest.</summary>
internal sealed class ArchiveEntries
{
    private const int MaxLinks = 8;
    private const string Again = "Export the image anew";

    private readonly Dictionary<string, long> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _links = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Digest, string> _names = [];

    /// <summary>index.json, as OCI archives have it.</summary>
    public byte[]? LayoutIndex { get; private set; }

    public DockerArchiveImage[]? DockerImages { get; private set; }

    /// <summary>Reads the names of all that is in the archive, and its tables of contents.</summary>
    public static async Task<ArchiveEntries> ReadAsync(string path, CancellationToken cancellationToken)
    {
        var index = new ArchiveEntries();
        using TarArchive archive = await TarArchive.OpenAsync(path, cancellationToken).ConfigureAwait(false);
        while (await archive.NextAsync(cancellationToken).ConfigureAwait(false) is { } entry)
        {
            if (entry.IsLink && !entry.LinkName.Contains('\0'))
                index._links[entry.Name] = Target(entry);
            if (!entry.IsFile)
                continue;
            index._files[entry.Name] = entry.Length;
            if (entry.Name == "index.json")
                index.LayoutIndex = await DocumentAsync(entry.Data, entry.Name, cancellationToken).ConfigureAwait(false);
            if (entry.Name == "manifest.json")
                index.DockerImages = ParseImages(await DocumentAsync(entry.Data, entry.Name, cancellationToken).ConfigureAwait(false));
        }

        return index;
    }

    /// <summary>Whether it is as docker wrote archives before manifest.json.</summary>
    public bool IsOfOldDocker => DockerImages is null && _files.ContainsKey("repositories");

    /// <summary>The entry that holds a blob; null when none does.</summary>
    public string? Find(Digest digest) => _names.GetValueOrDefault(digest) ?? Resolve($"blobs/{digest.Algorithm}/{digest.Hex}");

    /// <summary>The manifest that an archive by <c>docker save</c> lacks, made once.</summary>
    /// <exception cref="UnreadableArchiveException">The archive lacks a part of the image.</exception>
    public async Task<byte[]> ManifestAsync(ImageReference reference, DockerArchiveImage image, CancellationToken cancellationToken)
    {
        if (image.Manifest is { } made)
            return made;
        string configName = Resolve(TarArchive.Clean(image.Config ?? "")) ?? throw new UnreadableArchiveException($"it lacks the configuration '{image.Config}' that its manifest.json names. {Again}");
        string[] layerNames = [.. (image.Layers ?? []).Select(l => Resolve(TarArchive.Clean(l)) ?? throw new UnreadableArchiveException($"it lacks the layer '{l}' that its manifest.json names. {Again}"))];
        var parts = new Dictionary<string, (Digest Digest, string MediaType)>(StringComparer.Ordinal);
        byte[]? config = null;
        using TarArchive archive = await TarArchive.OpenAsync(reference.Repository, cancellationToken).ConfigureAwait(false);
        while (await archive.NextAsync(cancellationToken).ConfigureAwait(false) is { } entry)
        {
            if (entry.Name == configName)
                config = await DocumentAsync(entry.Data, entry.Name, cancellationToken).ConfigureAwait(false);
            else if (layerNames.Contains(entry.Name, StringComparer.Ordinal))
                parts[entry.Name] = await LookAsync(entry.Data, cancellationToken).ConfigureAwait(false);
        }

        ImageConfig parsed = OciDocuments.ParseConfig(reference, config ?? []);
        if (parsed.RootFs.DiffIds.Count != layerNames.Length)
            throw new UnreadableArchiveException($"it has {layerNames.Length} layers, and its configuration {parsed.RootFs.DiffIds.Count}. {Again}");

        // An uncompressed layer's digest is its DiffID; whoever reads the layer finds out whether it is.
        Descriptor Layer(string name, Digest diffId) => parts[name] is { Digest: { IsEmpty: false } digest, MediaType: var type }
            ? Describe(type, digest, name)
            : Describe(MediaTypes.OciLayer, diffId, name);
        return image.Manifest = OciJson.Serialize(new ImageManifest
        {
            MediaType = MediaTypes.OciManifest,
            Config = Describe(MediaTypes.OciConfig, Digest.Compute(config), configName),
            Layers = [.. layerNames.Zip(parsed.RootFs.DiffIds, Layer)],
        });
    }

    private Descriptor Describe(string mediaType, Digest digest, string name)
    {
        _names[digest] = name;
        return new Descriptor { MediaType = mediaType, Digest = digest, Size = _files[name] };
    }

    /// <summary>The file that a name stands for: docker writes a layer that is there already as a link to it.</summary>
    private string? Resolve(string name)
    {
        for (int i = 0; i < MaxLinks && _links.TryGetValue(name, out string? target); i++)
            name = target;
        return _files.ContainsKey(name) ? name : null;
    }

    // Names within the archive, though the arithmetic is that of paths.
    private static string Target(ArchiveEntry entry) => entry.Type == TarEntryType.HardLink
        ? TarArchive.Clean(entry.LinkName)
        : Path.GetFullPath(Path.Combine("/", Path.GetDirectoryName(entry.Name) ?? "", entry.LinkName)).TrimStart('/');

    /// <summary>The digest and type of a compressed layer; no digest of one that is not.</summary>
    private static async Task<(Digest Digest, string MediaType)> LookAsync(Stream data, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[64 * 1024];
        int count = await data.ReadAtLeastAsync(buffer, TarArchive.MagicBytes, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        string? type = TarArchive.CompressionOf(buffer) switch { "gzip" => MediaTypes.OciLayerGzip, "zstd" => MediaTypes.OciLayerZstd, _ => null };
        if (type is null)
            return (default, MediaTypes.OciLayer);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (; count > 0; count = await data.ReadAsync(buffer, cancellationToken).ConfigureAwait(false))
            hash.AppendData(buffer.AsSpan(0, count));
        return (Digest.FromHash("sha256", hash.GetHashAndReset()), type);
    }

    private static DockerArchiveImage[] ParseImages(byte[] json)
    {
        try
        {
            return [.. JsonSerializer.Deserialize(json, DockerArchiveJsonContext.Default.DockerArchiveImageArray)?.OfType<DockerArchiveImage>() ?? []];
        }
        catch (JsonException ex)
        {
            throw new UnreadableArchiveException($"its manifest.json is none: {JsonFault.Describe(ex)}. {Again}", ex);
        }
    }

    /// <exception cref="UnreadableArchiveException">It is longer than any such document.</exception>
    public static async Task<byte[]> DocumentAsync(Stream data, string name, CancellationToken cancellationToken) =>
        await BoundedContent.ReadAsync(data, BoundedContent.ManifestLimit, cancellationToken).ConfigureAwait(false)
        ?? throw new UnreadableArchiveException($"its {name} has more than {BoundedContent.ManifestLimit} bytes. {Again}");
}

/// <summary>An image in an archive by <c>docker save</c>.</summary>
internal sealed record DockerArchiveImage(string? Config, string[]? RepoTags, string[]? Layers)
{
    /// <summary>The manifest that was made for it.</summary>
    [JsonIgnore]
    public byte[]? Manifest { get; set; }
}

[JsonSerializable(typeof(DockerArchiveImage[]))]
internal sealed partial class DockerArchiveJsonContext : JsonSerializerContext;
