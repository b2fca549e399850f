using Xfn.Core.Layers;
using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>Asks the fetcher which manifest a reference means at its source, for this platform.</summary>
internal sealed class ImageResolver(IImageFetcher fetcher, Platform platform)
{
    private const int MaxDocumentBytes = BoundedContent.ManifestLimit;
    private const int MaxIndexDepth = 4;
    private const int MaxCandidates = 64;

    /// <summary>Whether the fetcher is asked for an image that the cache has: it may be another by now.</summary>
    /// <remarks>A digest means the same for ever; a path's does not say that there still is something.</remarks>
    public bool Asks(ImageReference reference, ImagePullConfig config) => config.PullPolicy switch
    {
        ImagePullPolicy.Always => true,
        ImagePullPolicy.Never => false,
        _ => (reference.Digest.IsEmpty || reference.IsLocal) && !fetcher.IsStable(reference),
    };

    /// <summary>Whether a reference still leads to where it led, as the fetcher says; nothing else is looked
    /// at.</summary>
    public async ValueTask<bool> IsCurrentAsync(ImageReference reference, ImagePullConfig config, ResolvedReference known, CancellationToken cancellationToken)
    {
        FetchedManifest fetched = await FetchAsync(reference, new FetchContext { Auth = config.Auth, KnownDigest = known.Top }, cancellationToken).ConfigureAwait(false);
        return fetched.IsNotModified ? fetched.Digest == known.Top : known.Top.Matches(fetched.Content.Span);
    }

    /// <summary>Resolves a reference, of which it may be known what it led to. The context says whether the cache has
    /// that image.</summary>
    /// <returns>What it is resolved to, and the manifest unless the cache has it.</returns>
    public async Task<(ResolvedReference Resolved, ReadOnlyMemory<byte> Manifest)> ResolveAsync(
        ImageReference reference, FetchContext context, ResolvedReference? known, CancellationToken cancellationToken)
    {
        FetchedManifest fetched = await FetchAsync(reference, context, cancellationToken).ConfigureAwait(false);
        if (fetched.IsNotModified)
        {
            return known is not null && fetched.Digest == known.Top
                ? (known, default)
                : throw new InvalidImageException(RunStage.Resolve, $"cannot resolve image '{reference}': its source says that it has not changed, but it was not asked so.");
        }

        Digest top = Verify(reference, fetched, reference.Digest);
        if (!OciDocuments.IsIndex(reference, fetched))
            return (new ResolvedReference(top, top), fetched.Content);
        var choice = new IndexChoice(this, platform, reference, context with { KnownDigest = default });
        return await choice.ChooseAsync(fetched, 1, cancellationToken).ConfigureAwait(false) is var (digest, manifest)
            ? (new ResolvedReference(top, digest), manifest)
            : throw new ImageNotFoundException(
                $"cannot find image '{reference}' for platform {platform}: the index has {choice.Describe()}. Use an image that was built for this platform.");
    }

    public async Task<byte[]> ReadConfigAsync(ImageReference reference, Descriptor descriptor, FetchContext context, CancellationToken cancellationToken)
    {
        if (descriptor.Size is <= 0 or > MaxDocumentBytes)
            throw new InvalidImageException(RunStage.Pull, $"cannot use the configuration of image '{reference}': it is said to have {descriptor.Size} bytes, expected 1 to {MaxDocumentBytes}.");
        using var blob = new BlobReader(fetcher, reference, descriptor, context);
        var content = new byte[descriptor.Size];
        await blob.ReadExactlyAsync(content, cancellationToken).ConfigureAwait(false);
        await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
        return content;
    }

    /// <summary>Asks the fetcher, which may be anybody's and fail in any way.</summary>
    private async Task<FetchedManifest> FetchAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken)
    {
        try
        {
            return await fetcher.FetchManifestAsync(reference, context, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is not XfnException && !(ex is OperationCanceledException && cancellationToken.IsCancellationRequested))
        {
            throw new XfnException(RunStage.Resolve, $"cannot fetch the manifest of image '{reference}': {ex.Message}", ex);
        }
    }

    /// <summary>The digest of a document, which must be the expected one and the one that its source says.</summary>
    private static Digest Verify(ImageReference reference, FetchedManifest fetched, Digest expected)
    {
        if (fetched.Content.Length is 0 or > MaxDocumentBytes)
            throw new InvalidImageException(RunStage.Resolve, $"cannot use the manifest of image '{reference}': it has {fetched.Content.Length} bytes, expected 1 to {MaxDocumentBytes}.");
        Digest said = expected.IsEmpty ? fetched.Digest : expected;
        if (said.IsEmpty)
            return Digest.Compute(fetched.Content.Span);
        return said.Matches(fetched.Content.Span)
            ? said
            : throw new InvalidImageException(
                RunStage.Resolve,
                $"cannot use the manifest of image '{reference}': its digest is {Digest.Compute(fetched.Content.Span)}, expected {said}. It was changed on the way, or its source is damaged.");
    }

    /// <summary>Chooses the image for the platform from an index, and knows what was looked at on the way.</summary>
    private sealed class IndexChoice(ImageResolver resolver, Platform platform, ImageReference reference, FetchContext context)
    {
        private readonly SortedSet<string> _found = new(StringComparer.Ordinal);

        // What an index lists, and its source lacks.
        private readonly SortedSet<string> _missing = new(StringComparer.Ordinal);
        private int _fetched;

        public string Describe() => (_found.Count == 0 ? "none" : string.Join(", ", _found.Take(20)))
            + (_missing.Count == 0 ? "" : $", and what it has for {string.Join(", ", _missing.Take(20))} was not saved with it");

        /// <summary>The image; null when an index has none. What turns out to be no image, or one for another platform,
        /// is passed over.</summary>
        public async Task<(Digest Digest, ReadOnlyMemory<byte> Manifest)?> ChooseAsync(FetchedManifest document, int depth, CancellationToken cancellationToken)
        {
            if (depth > MaxIndexDepth)
                throw new InvalidImageException(RunStage.Resolve, $"cannot resolve image '{reference}': it has more than {MaxIndexDepth} indexes within each other.");
            ImageIndex index = OciDocuments.ParseIndex(reference, document.Content.Span);
            _found.UnionWith(PlatformSelector.Describe(index));
            foreach (Descriptor candidate in PlatformSelector.Candidates(index, platform))
            {
                if (++_fetched > MaxCandidates)
                    throw new InvalidImageException(RunStage.Resolve, $"cannot resolve image '{reference}': none of the first {MaxCandidates} entries of its index that may be an image is one. Name the image by its digest.");
                FetchedManifest fetched;
                try
                {
                    fetched = await resolver.FetchAsync(reference.WithDigest(candidate.Digest), context, cancellationToken).ConfigureAwait(false);
                }
                catch (ImageNotFoundException) when (reference.IsLocal)
                {
                    // Programs that have one platform of an image save its whole index with that.
                    _missing.Add(candidate.Platform?.ToString() ?? candidate.Digest.ToString());
                    continue;
                }

                Digest digest = Verify(reference, fetched, candidate.Digest);
                if (fetched.Content.Length != candidate.Size)
                    throw OciDocuments.WrongSize(RunStage.Resolve, $"manifest {digest} of image '{reference}'", fetched.Content.Length, candidate.Size);
                if (OciDocuments.IsIndex(reference, fetched, candidate))
                {
                    if (await ChooseAsync(fetched, depth + 1, cancellationToken).ConfigureAwait(false) is { } nested)
                        return nested;
                }
                else if (OciDocuments.ArtifactTypeOf(fetched.Content) is { } type)
                {
                    _found.Add($"an artifact of type '{type}'");
                }
                else if (PlatformSelector.NamesPlatform(candidate) || await SuitsAsync(fetched.Content, cancellationToken).ConfigureAwait(false))
                {
                    return (digest, fetched.Content);
                }
            }

            return null;
        }

        private async Task<bool> SuitsAsync(ReadOnlyMemory<byte> manifest, CancellationToken cancellationToken)
        {
            Descriptor descriptor = OciDocuments.ParseManifest(reference, manifest.Span).Config;
            ImageConfig config = OciDocuments.ParseConfig(reference, await resolver.ReadConfigAsync(reference, descriptor, context, cancellationToken).ConfigureAwait(false));
            if (PlatformSelector.Suits(config, platform))
                return true;
            _found.Add(PlatformSelector.Of(config).ToString());
            return false;
        }
    }
}
