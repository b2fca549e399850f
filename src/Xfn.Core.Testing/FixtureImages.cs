namespace Xfn.Core.Testing;

/// <summary>What a fixture's references mean: an image of its own, one that all fixtures of the process share, or, for
/// all other references, what its runner would have fetched without it.</summary>
internal sealed class FixtureImages(InMemoryImageFetcher own, IImageFetcher others) : IImageFetcher
{
    /// <summary>Images that are made once in a process.</summary>
    public static InMemoryImageFetcher Shared { get; } = new();

    private static readonly ImageReference Busybox = ImageReference.Parse(ContainerFixture.Busybox);

    private static readonly Lazy<Task> HasBusybox = new(() => Task.Run(() => BusyboxImage.AddToAsync(Shared, ContainerFixture.Busybox, CancellationToken.None)));

    public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        if (!own.Has(reference) && reference.Registry == Busybox.Registry && reference.Repository == Busybox.Repository)
            await HasBusybox.Value.WaitAsync(cancellationToken).ConfigureAwait(false);
        return await For(reference).FetchManifestAsync(reference, context, cancellationToken).ConfigureAwait(false);
    }

    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default) =>
        For(reference).OpenBlobAsync(reference, blob, offset, context, cancellationToken);

    public string? SourceOf(ImageReference reference) => For(reference).SourceOf(reference);

    public bool IsStable(ImageReference reference) => For(reference).IsStable(reference);

    private IImageFetcher For(ImageReference reference) => own.Has(reference) ? own : Shared.Has(reference) ? Shared : others;
}
