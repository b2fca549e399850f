using System.Text.Json;
using Xfn.Core.Registry;

namespace Xfn.Core;

/// <summary>Fetches from files that others exported: <c>oci-archive:PATH[:TAG][@DIGEST]</c>, and <c>docker-archive:PATH[:NAME]</c> by <c>docker save</c>;
/// plain, or compressed with gzip, zstd or xz.</summary>
/// <remarks>Nothing is extracted: what is wanted is read out of the file, a compressed one from its beginning each time.</remarks>
public sealed class ArchiveImageFetcher : IImageFetcher
{
    private const int MaxKept = 8;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, (long Length, DateTime Written, ArchiveIndex Index)> _kept = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(context);
        return await ReadAsync(
            reference,
            RunStage.Resolve,
            async () =>
            {
                ArchiveIndex index = await IndexAsync(reference.Repository, cancellationToken).ConfigureAwait(false);
                FetchedManifest manifest = reference.Transport == "docker-archive" || index.LayoutIndex is null
                    ? await DockerAsync(reference, index, cancellationToken).ConfigureAwait(false)
                    : await LayoutAsync(reference, index, index.LayoutIndex, cancellationToken).ConfigureAwait(false);
                return !context.KnownDigest.IsEmpty && manifest.Digest == context.KnownDigest ? FetchedManifest.NotModified(manifest.Digest) : manifest;
            }).ConfigureAwait(false);
    }

    /// <summary>Names the path itself. It is asked at each run: a file may have been written anew a moment ago, and asking costs next to nothing.</summary>
    /// <param name="reference">The image.</param>
    public string? SourceOf(ImageReference reference) => NamedSource.Itself;

    /// <inheritdoc/>
    public async Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(blob);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        if (offset > 0)
            throw new NotSupportedException("archives are read from the beginning");
        return await ReadAsync(
            reference,
            RunStage.Pull,
            async () =>
            {
                ArchiveIndex index = await IndexAsync(reference.Repository, cancellationToken).ConfigureAwait(false);

                // Another process may have made the manifest, and this one know the layers' names not yet.
                if (index.Find(blob.Digest) is null && index.DockerImages is not null)
                    await DockerAsync(reference, index, cancellationToken).ConfigureAwait(false);
                return await OpenAsync(reference, index.Find(blob.Digest), blob.Digest, cancellationToken).ConfigureAwait(false);
            }).ConfigureAwait(false);
    }

    private static async Task<FetchedManifest> DockerAsync(ImageReference reference, ArchiveIndex index, CancellationToken cancellationToken)
    {
        if (index.DockerImages is not { Length: > 0 } images)
            throw new InvalidDataException("it has neither a manifest.json with images nor an index.json");
        DockerArchiveImage image = Choose(reference, images);
        byte[] content = await index.ManifestAsync(reference.Repository, image, cancellationToken).ConfigureAwait(false);
        return new FetchedManifest { Content = content, MediaType = MediaTypes.OciManifest, Digest = Digest.Compute(content) };
    }

    private static DockerArchiveImage Choose(ImageReference reference, DockerArchiveImage[] images)
    {
        if (reference.Tag is null && images is [var only])
            return only;
        string names = string.Join(", ", images.SelectMany(i => i.RepoTags ?? []).Take(20).Select(n => $"'{n}'"));
        return images.FirstOrDefault(i => i.RepoTags?.Any(t => Same(t, reference.Tag)) == true)
            ?? throw new ImageNotFoundException($"cannot find image '{reference}': the archive has the names {(names.Length == 0 ? "none" : names)}. Append one of them after a colon.");
    }

    private static bool Same(string name, string? wanted) => wanted is not null
        && (name == wanted
            || (ImageReference.TryParse(name, ImageReference.DefaultRegistry, out ImageReference? one, out _)
                && ImageReference.TryParse(wanted, ImageReference.DefaultRegistry, out ImageReference? other, out _) && one == other));

    private static async Task<FetchedManifest> LayoutAsync(ImageReference reference, ArchiveIndex index, byte[] indexJson, CancellationToken cancellationToken)
    {
        LayoutEntry entry = LayoutIndex.Find(reference, indexJson);
        if (entry.IsIndexItself)
            return new FetchedManifest { Content = indexJson, MediaType = entry.MediaType, Digest = entry.Digest };
        Stream stream = await OpenAsync(reference, index.Find(entry.Digest), entry.Digest, cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            byte[] content = await BoundedContent.ReadAsync(stream, BoundedContent.ManifestLimit, cancellationToken).ConfigureAwait(false)
                ?? throw new InvalidDataException($"its manifest has more than {BoundedContent.ManifestLimit} bytes");
            return new FetchedManifest { Content = content, MediaType = entry.MediaType, Digest = entry.Digest };
        }
    }

    /// <summary>What the archive holds, read once as long as the file stays as it is.</summary>
    private async Task<ArchiveIndex> IndexAsync(string path, CancellationToken cancellationToken)
    {
        var file = new FileInfo(path);
        (long length, DateTime written) = (file.Length, file.LastWriteTimeUtc);
        lock (_lock)
        {
            if (_kept.TryGetValue(path, out (long Length, DateTime Written, ArchiveIndex Index) kept) && (kept.Length, kept.Written) == (length, written))
                return kept.Index;
        }

        ArchiveIndex index = await ArchiveIndex.ReadAsync(path, cancellationToken).ConfigureAwait(false);
        lock (_lock)
        {
            if (_kept.Count >= MaxKept)
                _kept.Clear();
            _kept[path] = (length, written, index);
        }

        return index;
    }

    private static async Task<Stream> OpenAsync(ImageReference reference, string? wanted, Digest digest, CancellationToken cancellationToken)
    {
        TarArchive archive = await TarArchive.OpenAsync(reference.Repository, cancellationToken).ConfigureAwait(false);
        try
        {
            while (wanted is not null && await archive.NextAsync(cancellationToken).ConfigureAwait(false) is var (name, entry))
            {
                if (name == wanted)
                    return new EntryStream(entry.DataStream ?? Stream.Null, archive);
            }

            throw new InvalidDataException($"it lacks '{digest}'");
        }
        catch
        {
            archive.Dispose();
            throw;
        }
    }

    private static async Task<T> ReadAsync<T>(ImageReference reference, RunStage stage, Func<Task<T>> read)
    {
        try
        {
            return await read().ConfigureAwait(false);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ImageNotFoundException($"cannot find image '{reference}': there is no '{reference.Repository}'. Check the path.", e);
        }
        catch (Exception e) when (e is InvalidDataException or JsonException or EndOfStreamException || e is SharpCompress.Common.SharpCompressException)
        {
            throw new InvalidImageException(stage, $"cannot read image '{reference}': {e.Message.TrimEnd('.')}. Export the image anew.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new XfnException(stage, $"cannot read image '{reference}': {e.Message} Check that the file is readable.", e);
        }
    }
}
