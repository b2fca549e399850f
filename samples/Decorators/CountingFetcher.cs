using Xfn.Core;

namespace Decorators;

/// <summary>Counts the blobs that a fetcher opens.</summary>
public sealed class CountingFetcher(IImageFetcher inner) : IImageFetcher
{
    private int _blobs;

    public int Blobs => _blobs;

    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default) =>
        inner.FetchManifestAsync(reference, context, cancellationToken);

    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        Interlocked.Increment(ref _blobs);
        return inner.OpenBlobAsync(reference, blob, offset, context, cancellationToken);
    }

    // Without these two, names would be asked for at each run, and no other process would know what they led to.
    public string? SourceOf(ImageReference reference) => inner.SourceOf(reference);

    public bool IsStable(ImageReference reference) => inner.IsStable(reference);
}
