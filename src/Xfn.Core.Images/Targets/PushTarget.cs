using Microsoft.Extensions.Logging;
using Xfn.Core.Registry;

namespace Xfn.Core.Images.Targets;

/// <summary>A repository of a registry.</summary>
internal sealed class PushTarget : ImageTarget
{
    private readonly RegistryImagePusher _pusher;

    public PushTarget(ImageReference reference, RegistryOptions? registry, ILogger logger)
        : base(reference)
    {
        RegistryOptions options = (registry ?? new RegistryOptions()).CheckedCopy();
        options.Logger = logger;
        _pusher = new RegistryImagePusher(options);
    }

    /// <summary>As many as docker pushes at once.</summary>
    public override int Concurrency => 5;

    public override Task<bool> WriteBlobAsync(ImageBlob blob, CancellationToken cancellationToken)
    {
        string? from = blob.From is { IsLocal: false } image && image.Registry == Reference.Registry && image.Repository != Reference.Repository ? image.Repository : null;
        return _pusher.PushBlobAsync(Reference, new PushedBlob(blob.Descriptor, blob.OpenAsync, from, blob.Report), cancellationToken);
    }

    /// <remarks>The name comes last: who pulls it finds all that it leads to.</remarks>
    public override async Task<ImageReference> FinishAsync(NamedDocument top, IReadOnlyList<NamedDocument> others, CancellationToken cancellationToken)
    {
        foreach (NamedDocument other in others)
            await _pusher.PushManifestAsync(Reference.WithDigest(other.Descriptor.Digest), other.Descriptor.MediaType, other.Content, cancellationToken).ConfigureAwait(false);
        await _pusher.PushManifestAsync(Reference, top.Descriptor.MediaType, top.Content, cancellationToken).ConfigureAwait(false);
        return Reference.WithDigest(top.Descriptor.Digest);
    }

    public override async ValueTask DisposeAsync()
    {
        _pusher.Dispose();
        await base.DisposeAsync().ConfigureAwait(false);
    }
}
