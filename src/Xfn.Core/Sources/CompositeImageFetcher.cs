namespace Xfn.Core;

/// <summary>Asks the fetcher that serves a reference's <see cref="ImageReference.Transport"/>.</summary>
public sealed class CompositeImageFetcher : IImageFetcher, IDisposable
{
    private readonly Dictionary<string, IImageFetcher> _fetchers;

    /// <summary>Makes a fetcher of fetchers.</summary>
    /// <param name="fetchers">By transport: <c>docker</c>, <c>oci</c>, <c>oci-archive</c>, <c>docker-archive</c>. Disposed with this one.</param>
    public CompositeImageFetcher(IReadOnlyDictionary<string, IImageFetcher> fetchers)
    {
        ArgumentNullException.ThrowIfNull(fetchers);
        _fetchers = new Dictionary<string, IImageFetcher>(fetchers, StringComparer.Ordinal);
    }

    /// <inheritdoc/>
    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default) =>
        For(reference).FetchManifestAsync(reference, context, cancellationToken);

    /// <inheritdoc/>
    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default) =>
        For(reference).OpenBlobAsync(reference, blob, offset, context, cancellationToken);

    /// <inheritdoc/>
    public string? SourceOf(ImageReference reference) => Find(reference)?.SourceOf(reference);

    /// <inheritdoc/>
    public bool IsStable(ImageReference reference) => Find(reference)?.IsStable(reference) ?? false;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IDisposable fetcher in _fetchers.Values.Distinct().OfType<IDisposable>())
            fetcher.Dispose();
    }

    private IImageFetcher? Find(ImageReference reference)
    {
        ArgumentNullException.ThrowIfNull(reference);
        return _fetchers.GetValueOrDefault(reference.Transport);
    }

    private IImageFetcher For(ImageReference reference) => Find(reference) ?? throw new XfnException(
        RunStage.Resolve,
        $"cannot fetch image '{reference}': no fetcher serves '{reference.Transport}', expected one of {string.Join(", ", _fetchers.Keys.Order())}. "
        + "Add a fetcher for it or name the image otherwise.");
}
