namespace Xfn.Core.Images.Targets;

/// <summary>Where an image goes.</summary>
internal abstract class ImageTarget(ImageReference reference) : IAsyncDisposable
{
    protected const string RefName = "org.opencontainers.image.ref.name";

    public ImageReference Reference => reference;

    /// <summary>How many blobs it takes at once.</summary>
    public virtual int Concurrency => 1;

    /// <summary>Where a layer is kept until it is whole.</summary>
    public virtual Spool MakeSpool() => Spool.InFile(Path.GetTempPath());

    /// <summary>Writes a blob.</summary>
    /// <returns>False when it was there before.</returns>
    public abstract Task<bool> WriteBlobAsync(ImageBlob blob, CancellationToken cancellationToken);

    /// <summary>Writes the documents, and names the first.</summary>
    /// <param name="top">The manifest or index that the reference shall mean.</param>
    /// <param name="others">The manifests of an index.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The reference, by digest where there are some.</returns>
    public abstract Task<ImageReference> FinishAsync(NamedDocument top, IReadOnlyList<NamedDocument> others, CancellationToken cancellationToken);

    /// <summary>Removes what was not finished.</summary>
    public virtual ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>A manifest or an index, and its descriptor.</summary>
internal sealed record NamedDocument(Descriptor Descriptor, byte[] Content);
