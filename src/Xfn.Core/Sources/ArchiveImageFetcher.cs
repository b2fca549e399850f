using System.Collections.Concurrent;

namespace Xfn.Core.Sources;

/// <summary>Fetches from exported files: <c>oci-archive:PATH[:NAME][@DIGEST]</c>, and <c>docker-archive:PATH[:NAME]</c>
/// by <c>docker save</c>; plain, or compressed with gzip, zstd, xz or bzip2.</summary>
/// <remarks>The file's content decides which of the two it is; where it is both, the name decides. Nothing is
/// extracted: all is read out of the file, each time from its beginning if it is compressed.</remarks>
internal sealed class ArchiveImageFetcher : IImageFetcher
{
    private const int MaxKept = 8;

    private readonly ConcurrentDictionary<string, (long Length, DateTime Written, ArchiveEntries Index)> _kept = new(StringComparer.Ordinal);

    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default) => ReadAsync(
        reference,
        RunStage.Resolve,
        async () =>
        {
            ArchiveEntries index = await IndexAsync(reference.Repository, cancellationToken).ConfigureAwait(false);
            FetchedManifest manifest = index.LayoutIndex is { } layout && (reference.Transport != "docker-archive" || index.DockerImages is null || !reference.Digest.IsEmpty)
                ? await LayoutAsync(reference, index, layout, cancellationToken).ConfigureAwait(false)
                : await DockerAsync(reference, index, cancellationToken).ConfigureAwait(false);
            return !context.KnownDigest.IsEmpty && manifest.Digest == context.KnownDigest ? FetchedManifest.NotModified(manifest.Digest) : manifest;
        });

    /// <summary>Names the path itself. Each run asks anew, which is cheap: the file may have changed.</summary>
    public string? SourceOf(ImageReference reference) => NamedSource.Itself;

    public async Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        if (offset > 0)
            throw new NotSupportedException("archives are read from the beginning");
        return await ReadAsync(
            reference,
            RunStage.Pull,
            async () =>
            {
                ArchiveEntries index = await IndexAsync(reference.Repository, cancellationToken).ConfigureAwait(false);

                // Another process may have made the manifest, and this one know the layers' names not yet.
                if (index.Find(blob.Digest) is null && index.DockerImages is not null)
                    await DockerAsync(reference, index, cancellationToken).ConfigureAwait(false);
                return await OpenAsync(reference, index.Find(blob.Digest), blob.Digest, cancellationToken).ConfigureAwait(false);
            }).ConfigureAwait(false);
    }

    private static async Task<FetchedManifest> DockerAsync(ImageReference reference, ArchiveEntries index, CancellationToken cancellationToken)
    {
        if (index.IsOfOldDocker)
            throw new UnreadableArchiveException("it was saved by docker before 1.10, without a manifest.json. Load it into a current docker and save it again");
        if (index.DockerImages is not { Length: > 0 } images)
            throw new UnreadableArchiveException("it is a tar archive, but no image's: it has neither an index.json nor a manifest.json that names an image. Export the image anew");
        if (!reference.Digest.IsEmpty)
            throw new UnreadableArchiveException("archives by 'docker save' have no digests of manifests. Leave '@' and what follows it out");
        DockerArchiveImage image = Choose(reference, images);
        byte[] content = await index.ManifestAsync(reference, image, cancellationToken).ConfigureAwait(false);
        return new FetchedManifest { Content = content, MediaType = MediaTypes.OciManifest, Digest = Digest.Compute(content) };
    }

    private static DockerArchiveImage Choose(ImageReference reference, DockerArchiveImage[] images)
    {
        if (reference.Tag is null && images is [var only])
            return only;
        if (reference.Tag is { } wanted && images.FirstOrDefault(i => i.RepoTags?.Any(t => LayoutIndex.IsSame(t, wanted)) == true) is { } named)
            return named;
        string[] names = [.. images.SelectMany(i => i.RepoTags ?? []).Take(20)];
        throw new ImageNotFoundException(names switch
        {
            [] when images.Length == 1 => $"cannot find image '{reference}': the archive's image has no name. Leave the name out: {reference.Transport}:{reference.Repository}.",
            [] => $"cannot find image '{reference}': the archive has {images.Length} images and no names. Save one image, or save them by their names.",
            [var first, ..] =>
                $"cannot find image '{reference}': the archive has the names {string.Join(", ", names.Select(n => $"'{n}'"))}. Name one of them: {reference.Transport}:{reference.Repository}:{first}.",
        });
    }

    private static async Task<FetchedManifest> LayoutAsync(ImageReference reference, ArchiveEntries index, byte[] indexJson, CancellationToken cancellationToken)
    {
        LayoutEntry entry = LayoutIndex.Find(reference, indexJson);
        if (entry.Content is not null)
            return new FetchedManifest { Content = entry.Content, MediaType = entry.MediaType, Digest = entry.Digest };
        string name = index.Find(entry.Digest)
            ?? throw new ImageNotFoundException($"cannot find image '{reference}': the archive lacks its manifest. Check the digest, or save the image again with all its platforms.");
        using Stream stream = await OpenAsync(reference, name, entry.Digest, cancellationToken).ConfigureAwait(false);
        byte[] content = await ArchiveEntries.DocumentAsync(stream, "manifest", cancellationToken).ConfigureAwait(false);
        return new FetchedManifest { Content = content, MediaType = entry.MediaType, Digest = entry.Digest };
    }

    /// <summary>What the archive holds, read once as long as the file stays as it is.</summary>
    private async Task<ArchiveEntries> IndexAsync(string path, CancellationToken cancellationToken)
    {
        var file = new FileInfo(path);
        if (!file.Exists && Directory.Exists(path))
            throw new UnreadableArchiveException($"it is a directory, not an archive. If it is a layout, write oci:{path}");
        (long length, DateTime written) = (file.Length, file.LastWriteTimeUtc);
        if (_kept.TryGetValue(path, out (long Length, DateTime Written, ArchiveEntries Index) kept) && (kept.Length, kept.Written) == (length, written))
            return kept.Index;
        ArchiveEntries index = await ArchiveEntries.ReadAsync(path, cancellationToken).ConfigureAwait(false);
        if (_kept.Count >= MaxKept)
            _kept.Clear();
        _kept[path] = (length, written, index);
        return index;
    }

    private static async Task<Stream> OpenAsync(ImageReference reference, string? wanted, Digest digest, CancellationToken cancellationToken)
    {
        TarArchive archive = await TarArchive.OpenAsync(reference.Repository, cancellationToken).ConfigureAwait(false);
        try
        {
            while (wanted is not null && await archive.NextAsync(cancellationToken).ConfigureAwait(false) is { } entry)
            {
                if (entry.Name == wanted)
                    return new EntryStream(entry.Data, archive, ownsArchive: true);
            }

            throw new UnreadableArchiveException($"it lacks '{digest}'. Export the image anew");
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
            string whole = $"{reference.Repository}:{reference.Tag}";
            throw new ImageNotFoundException(
                $"cannot find image '{reference}': there is no '{reference.Repository}'. "
                + (File.Exists(whole) ? $"A path ends at its first colon: rename '{whole}', or give a link to it without a colon." : "Check the path."),
                e);
        }
        catch (UnreadableArchiveException e)
        {
            throw new InvalidImageException(stage, $"cannot read image '{reference}': {e.Message}.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new XfnException(stage, $"cannot read image '{reference}': {e.Message} Check that the file is readable.", e);
        }
    }
}
