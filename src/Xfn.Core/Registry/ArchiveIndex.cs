using System.Collections.Concurrent;
using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core.Registry;

/// <summary>What an archive holds, by name and by digest.</summary>
internal sealed class ArchiveIndex
{
    private const int MaxLinks = 8;

    private readonly Dictionary<string, long> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _links = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Digest, string> _names = [];

    /// <summary>index.json of an OCI archive.</summary>
    public byte[]? LayoutIndex { get; private set; }

    /// <summary>The images of an archive by <c>docker save</c>.</summary>
    public DockerArchiveImage[]? DockerImages { get; private set; }

    /// <summary>Reads the names of all that is in the archive, and its tables of contents.</summary>
    public static async Task<ArchiveIndex> ReadAsync(string path, CancellationToken cancellationToken)
    {
        var index = new ArchiveIndex();
        using TarArchive archive = await TarArchive.OpenAsync(path, cancellationToken).ConfigureAwait(false);
        while (await archive.NextAsync(cancellationToken).ConfigureAwait(false) is var (name, entry))
        {
            if (entry.EntryType is TarEntryType.SymbolicLink or TarEntryType.HardLink)
                index._links[name] = Target(name, entry);
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
                continue;
            index._files[name] = entry.Length;
            if (name == "index.json")
                index.LayoutIndex = await DocumentAsync(name, entry.DataStream, cancellationToken).ConfigureAwait(false);
            if (name == "manifest.json")
                index.DockerImages = ParseImages(await DocumentAsync(name, entry.DataStream, cancellationToken).ConfigureAwait(false));
        }

        return index;
    }

    /// <summary>The entry that holds a blob; null when none does.</summary>
    public string? Find(Digest digest) => _names.GetValueOrDefault(digest) ?? Resolve($"blobs/{digest.Algorithm}/{digest.Hex}");

    /// <summary>The manifest that an archive by <c>docker save</c> lacks, made once.</summary>
    /// <param name="path">The archive.</param>
    /// <param name="image">Which of its images.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="InvalidDataException">The archive lacks a part of the image.</exception>
    public async Task<byte[]> ManifestAsync(string path, DockerArchiveImage image, CancellationToken cancellationToken) =>
        image.Manifest ??= await MakeManifestAsync(path, image, cancellationToken).ConfigureAwait(false);

    private async Task<byte[]> MakeManifestAsync(string path, DockerArchiveImage image, CancellationToken cancellationToken)
    {
        string configName = Resolve(TarArchive.Clean(image.Config ?? "")) ?? throw new InvalidDataException("it lacks its configuration");
        string[] layerNames = [.. (image.Layers ?? []).Select(l => Resolve(TarArchive.Clean(l)) ?? throw new InvalidDataException("it lacks a layer"))];
        var parts = new Dictionary<string, (Digest Digest, string MediaType)>(StringComparer.Ordinal);
        byte[]? config = null;
        using TarArchive archive = await TarArchive.OpenAsync(path, cancellationToken).ConfigureAwait(false);
        while (await archive.NextAsync(cancellationToken).ConfigureAwait(false) is var (name, entry))
        {
            if (name == configName)
                config = await DocumentAsync(name, entry.DataStream, cancellationToken).ConfigureAwait(false);
            else if (layerNames.Contains(name, StringComparer.Ordinal))
                parts[name] = await LookAsync(entry.DataStream ?? Stream.Null, cancellationToken).ConfigureAwait(false);
        }

        ImageConfig parsed = OciJson.ParseConfig(config ?? throw new InvalidDataException("it lacks its configuration"));
        if (parsed.RootFs.DiffIds.Count != layerNames.Length)
            throw new InvalidDataException($"it has {layerNames.Length} layers, and its configuration {parsed.RootFs.DiffIds.Count}");

        // An uncompressed layer's digest is its DiffID; whoever reads the layer finds out whether it is.
        Descriptor Layer(string name, Digest diffId) => parts[name] is { Digest: { IsEmpty: false } digest, MediaType: var type }
            ? Describe(type, digest, name)
            : Describe(MediaTypes.OciLayer, diffId, name);
        return OciJson.Serialize(new ImageManifest
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

    private static string Target(string name, TarEntry entry)
    {
        if (entry.EntryType == TarEntryType.HardLink)
            return TarArchive.Clean(entry.LinkName);

        // Names within the archive, though the arithmetic is that of paths.
        string resolved = Path.GetFullPath(Path.Combine("/", Path.GetDirectoryName(name) ?? "", entry.LinkName));
        return resolved.TrimStart('/');
    }

    /// <summary>The digest and type of a compressed layer; no digest of one that is not.</summary>
    private static async Task<(Digest Digest, string MediaType)> LookAsync(Stream data, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[64 * 1024];
        int count = await data.ReadAtLeastAsync(buffer, 4, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        string type = buffer switch
        {
            [0x1f, 0x8b, ..] => MediaTypes.OciLayerGzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => MediaTypes.OciLayerZstd,
            _ => MediaTypes.OciLayer,
        };
        if (type == MediaTypes.OciLayer)
            return (default, type);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (; count > 0; count = await data.ReadAsync(buffer, cancellationToken).ConfigureAwait(false))
            hash.AppendData(buffer.AsSpan(0, count));
        return (Digest.FromHash("sha256", hash.GetHashAndReset()), type);
    }

    private static DockerArchiveImage[] ParseImages(byte[] json) =>
        [.. JsonSerializer.Deserialize(json, DockerArchiveJsonContext.Default.DockerArchiveImageArray)?.OfType<DockerArchiveImage>() ?? []];

    private static async Task<byte[]> DocumentAsync(string name, Stream? data, CancellationToken cancellationToken) =>
        await BoundedContent.ReadAsync(data ?? Stream.Null, BoundedContent.ManifestLimit, cancellationToken).ConfigureAwait(false)
        ?? throw new InvalidDataException($"its {name} has more than {BoundedContent.ManifestLimit} bytes");
}

/// <summary>An image in an archive by <c>docker save</c>.</summary>
internal sealed class DockerArchiveImage
{
    public string? Config { get; init; }

    public string[]? RepoTags { get; init; }

    public string[]? Layers { get; init; }

    /// <summary>The manifest that was made for it.</summary>
    [JsonIgnore]
    public byte[]? Manifest { get; set; }
}

[JsonSerializable(typeof(DockerArchiveImage[]))]
internal sealed partial class DockerArchiveJsonContext : JsonSerializerContext;
