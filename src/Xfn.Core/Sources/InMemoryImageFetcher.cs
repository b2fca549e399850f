using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Xfn.Core.Sources;

namespace Xfn.Core;

/// <summary>Fetches images from memory: a registry for tests.</summary>
/// <remarks>Safe for concurrent use. An image that is added under a name replaces the one of that name.</remarks>
/// <param name="defaultRegistry">The registry of names without one. Give that of the runner
/// (<see cref="ContainerRunnerOptions.DefaultRegistry"/>) where it is not the default.</param>
public sealed class InMemoryImageFetcher(string defaultRegistry = ImageReference.DefaultRegistry) : IImageFetcher
{
    private readonly ConcurrentDictionary<Digest, ReadOnlyMemory<byte>> _blobs = [];
    private readonly ConcurrentDictionary<Digest, FetchedManifest> _manifests = [];
    private readonly ConcurrentDictionary<string, Digest> _names = new(StringComparer.Ordinal);

    /// <summary>Adds an image: its layers, a configuration for this machine's platform, and a manifest.</summary>
    /// <param name="name">The image's reference.</param>
    /// <param name="config">How it wants to be run.</param>
    /// <param name="layers">Uncompressed tar archives, the base first (<see cref="Layer"/>).</param>
    /// <returns>The manifest's digest.</returns>
    /// <exception cref="FormatException">The name is no reference.</exception>
    public Digest AddImage(string name, ImageExecutionConfig config, params IReadOnlyList<ReadOnlyMemory<byte>> layers)
    {
        ArgumentNullException.ThrowIfNull(layers);
        Descriptor[] descriptors = [.. layers.Select(l => AddBlob(MediaTypes.OciLayer, l))];
        Descriptor configuration = AddBlob(MediaTypes.OciConfig, OciJson.Serialize(new ImageConfig
        {
            Os = "linux",
            Architecture = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? "amd64" : RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant(),
            Config = config,
            RootFs = new ImageRootFs { DiffIds = [.. descriptors.Select(d => d.Digest)] },
        }));
        return AddManifest(name, MediaTypes.OciManifest, OciJson.Serialize(new ImageManifest { MediaType = MediaTypes.OciManifest, Config = configuration, Layers = descriptors }));
    }

    /// <summary>Adds a configuration or a layer.</summary>
    /// <param name="mediaType">Its media type (<see cref="MediaTypes"/>).</param>
    /// <param name="content">Its bytes. Not copied.</param>
    /// <returns>Its descriptor, for a manifest.</returns>
    public Descriptor AddBlob(string mediaType, ReadOnlyMemory<byte> content)
    {
        var digest = Digest.Compute(content.Span);
        _blobs[digest] = content;
        return new Descriptor { MediaType = mediaType, Digest = digest, Size = content.Length };
    }

    /// <summary>Adds a manifest or an index.</summary>
    /// <param name="name">The image's reference. Null for a manifest that only an index names.</param>
    /// <param name="mediaType">Its media type (<see cref="MediaTypes"/>).</param>
    /// <param name="content">Its bytes. Not copied.</param>
    /// <returns>Its digest.</returns>
    /// <exception cref="FormatException">The name is no reference.</exception>
    public Digest AddManifest(string? name, string mediaType, ReadOnlyMemory<byte> content)
    {
        var digest = Digest.Compute(content.Span);
        _manifests[digest] = new FetchedManifest { Content = content, MediaType = mediaType, Digest = digest };
        if (name is not null)
            _names[Key(ImageReference.Parse(name, defaultRegistry))] = digest;
        return digest;
    }

    /// <summary>Makes a layer of files.</summary>
    /// <param name="files">The files, in the order in which they are to be written.</param>
    /// <returns>An uncompressed tar archive, which is the same for the same files.</returns>
    public static ReadOnlyMemory<byte> Layer(params IEnumerable<LayerFile> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        using var stream = new MemoryStream();

        // Nothing is waited for: all of it is in memory, or in files.
        LayerWriter.WriteTarAsync(files, DateTimeOffset.UnixEpoch, stream, CancellationToken.None).GetAwaiter().GetResult();
        return stream.ToArray();
    }

    /// <inheritdoc/>
    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(context);
        cancellationToken.ThrowIfCancellationRequested();
        Digest digest = reference.Digest.IsEmpty ? _names.GetValueOrDefault(Key(reference)) : reference.Digest;
        if (!_manifests.TryGetValue(digest, out FetchedManifest? manifest))
            throw new ImageNotFoundException($"cannot find image '{reference}': it was not added. Known are {string.Join(", ", _names.Keys.Order().Take(20))}.");
        return Task.FromResult(digest == context.KnownDigest ? FetchedManifest.NotModified(digest) : manifest);
    }

    /// <inheritdoc/>
    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(blob);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        cancellationToken.ThrowIfCancellationRequested();
        if (!_blobs.TryGetValue(blob.Digest, out ReadOnlyMemory<byte> content))
            throw new XfnException(RunStage.Pull, $"cannot find blob '{blob.Digest}' of image '{reference}': it was not added. Add it with {nameof(AddBlob)}.");
        content = content[(int)Math.Min(offset, content.Length)..];
        return Task.FromResult<Stream>(MemoryMarshal.TryGetArray(content, out ArraySegment<byte> array)
            ? new MemoryStream(array.Array!, array.Offset, array.Count, writable: false)
            : new MemoryStream(content.ToArray(), writable: false));
    }

    /// <summary>Whether an image was added under this name, or a manifest with this digest.</summary>
    internal bool Has(ImageReference reference) => reference.Digest.IsEmpty ? _names.ContainsKey(Key(reference)) : _manifests.ContainsKey(reference.Digest);

    private static string Key(ImageReference reference) => reference.IsLocal
        ? $"{reference.Transport}:{reference.Repository}:{reference.Tag}"
        : $"{reference.Registry}/{reference.Repository}:{reference.Tag}";
}
