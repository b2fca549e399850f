namespace Xfn.Core.Images.Targets;

/// <summary>Images in memory.</summary>
internal sealed class MemoryTarget(ImageReference reference, InMemoryImageFetcher images) : ImageTarget(reference)
{
    public override Spool MakeSpool() => Spool.InMemory();

    public override async Task<bool> WriteBlobAsync(ImageBlob blob, CancellationToken cancellationToken)
    {
        using var content = new MemoryStream(checked((int)blob.Descriptor.Size));
        await blob.CopyToAsync(content, cancellationToken).ConfigureAwait(false);
        images.AddBlob(blob.Descriptor.MediaType, content.ToArray());
        return true;
    }

    public override Task<ImageReference> FinishAsync(NamedDocument top, IReadOnlyList<NamedDocument> others, CancellationToken cancellationToken)
    {
        foreach (NamedDocument other in others)
            images.AddManifest(null, other.Descriptor.MediaType, other.Content);
        return Task.FromResult(Reference.WithDigest(images.AddManifest(Reference.ToString(), top.Descriptor.MediaType, top.Content)));
    }
}
