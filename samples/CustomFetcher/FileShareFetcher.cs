using Xfn.Core;

namespace CustomFetcher;

/// <summary>Fetches images from a directory that several machines share, laid out as one's own build leaves them:
/// <c>NAME/TAG.json</c> is a manifest, <c>blobs/HEX</c> a configuration or a layer.</summary>
/// <remarks>That is all there is to a fetcher: find a manifest, open a blob. Digests, sizes, the choice of a platform,
/// decompression and caching are the runner's.</remarks>
public sealed class FileShareFetcher(string share) : IImageFetcher
{
    public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        // A reference by digest (a pinned one, or an index's choice) is found among the blobs.
        string path = reference.Digest.IsEmpty ? Path.Combine(share, reference.Repository, $"{reference.Tag}.json") : BlobPath(reference.Digest);
        if (!File.Exists(path))
            throw new ImageNotFoundException($"cannot find image '{reference}' in '{share}': there is no '{path}'. Build it first.");
        return new FetchedManifest { Content = await File.ReadAllBytesAsync(path, cancellationToken) };
    }

    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        FileStream stream = File.OpenRead(BlobPath(blob.Digest));
        stream.Position = offset;
        return Task.FromResult<Stream>(stream);
    }

    private string BlobPath(Digest digest) => Path.Combine(share, "blobs", digest.Hex);
}
