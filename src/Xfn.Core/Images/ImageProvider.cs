using System.Collections.Concurrent;
using System.Text.Json;
using Xfn.Core.Layers;
using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>Gives images that can be run: from the cache, or from where the fetcher gets them.</summary>
internal sealed class ImageProvider(
    IImageFetcher fetcher, ImageStore store, ReferenceMap references, LayerStore layers, ImageLeases uses, UserFileReader users, IBundleBuilder bundles, Platform platform)
{
    private const int MaxDocumentBytes = 4 << 20;
    private const int MaxIndexDepth = 4;
    private const int MaxCandidates = 64;
    private const int MaxLayers = 256;

    // More images than a program runs again and again, and longer user files than honest images have: what is not kept is read from the cache.
    private const int MostKnown = 1024;
    private const int MostUserFileBytes = 256 << 10;

    private readonly ConcurrentDictionary<Digest, StoredImage> _known = new();

    /// <summary>Gives an image.</summary>
    /// <param name="reference">Which.</param>
    /// <param name="config">When to ask the fetcher, and with which credentials.</param>
    /// <param name="progress">Told of each layer that is not in the cache; null when nobody wants to know.</param>
    /// <param name="cancellationToken">Ends the fetching.</param>
    /// <returns>The image, which nobody prunes until this is disposed.</returns>
    public async ValueTask<LeasedImage> GetAsync(
        ImageReference reference, ImagePullConfig config, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        LeasedImage used = await store.GuardAsync(() => FindOrPullAsync(reference, config, progress, cancellationToken)).ConfigureAwait(false);
        XfnTelemetry.CountLookup(used.FromCache);
        try
        {
            layers.CheckLimits(reference, used.Image.Layers);
            if (used.Image.HasUserFiles)
                return used;
            StoredImage image = await users.CompleteAsync(reference, used.Image, cancellationToken).ConfigureAwait(false);
            if (image.Passwd.Length + image.Group.Length <= MostUserFileBytes)
                _known[image.ManifestDigest] = image;
            return used with { Image = image };
        }
        catch
        {
            used.Dispose();
            throw;
        }
    }

    /// <summary>Whether the fetcher is asked for an image that the cache holds, because it may be another by now.</summary>
    /// <remarks>A digest means the same for ever; a path's does not say that there still is something.</remarks>
    public bool Asks(ImageReference reference, ImagePullConfig config) => config.PullPolicy switch
    {
        ImagePullPolicy.Always => true,
        ImagePullPolicy.Never => false,
        _ => (reference.Digest.IsEmpty || reference.IsLocal) && !fetcher.IsStable(reference),
    };

    /// <summary>Whether a reference still leads to where it led; the fetcher is asked, and nothing else is looked at.</summary>
    /// <param name="reference">Which.</param>
    /// <param name="config">With which credentials.</param>
    /// <param name="known">Where it led.</param>
    /// <param name="cancellationToken">Ends the fetching.</param>
    public async ValueTask<bool> IsCurrentAsync(ImageReference reference, ImagePullConfig config, ResolvedReference known, CancellationToken cancellationToken)
    {
        FetchedManifest fetched = await FetchAsync(reference, new FetchContext { Auth = config.Auth, KnownDigest = known.Top }, cancellationToken).ConfigureAwait(false);
        bool isCurrent = fetched.IsNotModified ? fetched.Digest == known.Top : known.Top.Matches(fetched.Content.Span);
        if (isCurrent)
            XfnTelemetry.CountLookup(true);
        return isCurrent;
    }

    /// <summary>Whether an image that was given lacks a layer by now; it is then looked for anew when it is next asked for.</summary>
    public bool IsDamaged(StoredImage image)
    {
        if (image.Layers.All(layers.Exists))
            return false;
        _known.TryRemove(image.ManifestDigest, out _);
        return true;
    }

    /// <summary>Waits until what was pulled is on disk.</summary>
    public Task FinishAsync() => layers.FinishAsync();

    private async ValueTask<LeasedImage> FindOrPullAsync(
        ImageReference reference, ImagePullConfig config, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        bool ask = Asks(reference, config);
        ResolvedReference? resolved = Resolve(reference);

        // An image is held before it is looked at, so that what is found stays.
        ImageLease? use = resolved is null ? null : await uses.HoldAsync(resolved.Manifest, cancellationToken).ConfigureAwait(false);
        try
        {
            StoredImage? cached = resolved is null ? null : Load(resolved.Manifest);
            if (!ask && cached is not null)
                return new LeasedImage(cached, true, use!, resolved!);
            if (config.PullPolicy == ImagePullPolicy.Never)
                throw new ImageNotFoundException($"cannot find image '{reference}' in the cache, and the pull policy is Never. Pull it first, or use IfNotPresent.");

            var context = new FetchContext { Auth = config.Auth, KnownDigest = cached is not null ? resolved!.Top : default };
            (ResolvedReference current, ReadOnlyMemory<byte> manifest) = await ResolveAsync(reference, context, resolved, cancellationToken).ConfigureAwait(false);
            if (current.Manifest != resolved?.Manifest)
            {
                use?.Dispose();
                use = null;
                use = await uses.HoldAsync(current.Manifest, cancellationToken).ConfigureAwait(false);
            }

            // The manifest is there before any layer is looked for: who prunes looks at the manifests after it took a layer away, and gives it back when one wants it.
            if (!manifest.IsEmpty)
                store.WriteBlob(current.Manifest, manifest.Span);
            StoredImage? unchanged = Load(current.Manifest);
            StoredImage image = unchanged ?? await PullAsync(reference, current.Manifest, context, progress, cancellationToken).ConfigureAwait(false);
            if (unchanged is null || current != resolved)
                references.Write(reference, current);
            return new LeasedImage(image, unchanged is not null, use!, current);
        }
        catch
        {
            use?.Dispose();
            throw;
        }
    }

    private ResolvedReference? Resolve(ImageReference reference) => references.Read(reference)
        ?? (reference.Digest.IsEmpty || reference.IsLocal ? null : new ResolvedReference(reference.Digest, reference.Digest));

    /// <summary>Whether an image that was found still has all its layers. Who takes one away changes the directory that they are in, so that one look is enough while nothing
    /// came or went; a change in the very instant of the last look is found when the layer cannot be mounted.</summary>
    private bool IsWhole(StoredImage image)
    {
        DateTime changed = layers.LastChange;
        if (image.LayersSeen == changed)
            return true;
        if (IsDamaged(image))
            return false;
        image.LayersSeen = changed;
        return true;
    }

    /// <summary>An image of the cache; null when a part of it is missing.</summary>
    private StoredImage? Load(Digest manifestDigest)
    {
        if (_known.TryGetValue(manifestDigest, out StoredImage? known) && IsWhole(known))
            return known;
        if (store.ReadBlob(manifestDigest) is not { } manifestJson)
            return null;
        try
        {
            ImageManifest manifest = OciJson.ParseManifest(manifestJson);
            if (store.ReadBlob(manifest.Config.Digest) is not { } configJson)
                return null;
            ImageConfig config = OciJson.ParseConfig(configJson);
            if (manifest.Layers.Count != config.RootFs.DiffIds.Count)
                return null;
            var stored = new StoredLayer[manifest.Layers.Count];
            for (int i = 0; i < stored.Length; i++)
            {
                if (layers.Find(manifest.Layers, config.RootFs.DiffIds, i) is not { } layer)
                    return null;
                stored[i] = layer;
            }

            return Assemble(manifestDigest, config, stored);
        }
        catch (JsonException)
        {
            // An index, not a manifest: a reference by digest says nothing of what it is the digest of.
            return null;
        }
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

    /// <returns>What the reference is resolved to, and its manifest unless the cache has it.</returns>
    private async Task<(ResolvedReference Resolved, ReadOnlyMemory<byte> Manifest)> ResolveAsync(
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
        if (OciDocuments.KindOf(reference, fetched) == OciDocumentKind.Manifest)
            return (new ResolvedReference(top, top), fetched.Content);
        var choice = new IndexChoice();
        return await ChooseAsync(reference, fetched, context with { KnownDigest = default }, choice, 1, cancellationToken).ConfigureAwait(false) is var (digest, manifest)
            ? (new ResolvedReference(top, digest), manifest)
            : throw new ImageNotFoundException(
                $"cannot find image '{reference}' for platform {platform}: the index has {choice.Describe()}. Use an image that was built for this platform.");
    }

    /// <summary>Chooses the image for the platform; null when an index has none. What turns out to be no image, or one for another platform, is passed over.</summary>
    private async Task<(Digest Digest, ReadOnlyMemory<byte> Manifest)?> ChooseAsync(
        ImageReference reference, FetchedManifest indexDocument, FetchContext context, IndexChoice choice, int depth, CancellationToken cancellationToken)
    {
        if (depth > MaxIndexDepth)
            throw new InvalidImageException(RunStage.Resolve, $"cannot resolve image '{reference}': it has more than {MaxIndexDepth} indexes within each other.");
        ImageIndex index = OciDocuments.ParseIndex(reference, indexDocument.Content.Span);
        choice.Found.UnionWith(PlatformSelector.Describe(index));
        foreach (Descriptor candidate in PlatformSelector.Candidates(index, platform))
        {
            if (++choice.Fetched > MaxCandidates)
                throw new InvalidImageException(RunStage.Resolve, $"cannot resolve image '{reference}': none of the first {MaxCandidates} entries of its index that may be an image is one. Name the image by its digest.");
            FetchedManifest fetched;
            try
            {
                fetched = await FetchAsync(reference.WithDigest(candidate.Digest), context, cancellationToken).ConfigureAwait(false);
            }
            catch (ImageNotFoundException) when (reference.IsLocal)
            {
                // Programs that have one platform of an image save its whole index with that.
                choice.Missing.Add(candidate.Platform?.ToString() ?? candidate.Digest.ToString());
                continue;
            }

            Digest digest = Verify(reference, fetched, candidate.Digest);
            if (fetched.Content.Length != candidate.Size)
                throw OciDocuments.WrongSize(RunStage.Resolve, $"manifest {digest} of image '{reference}'", fetched.Content.Length, candidate.Size);
            OciDocuments.CheckKind(reference, fetched, candidate);
            if (OciDocuments.KindOf(reference, fetched) == OciDocumentKind.Index)
            {
                if (await ChooseAsync(reference, fetched, context, choice, depth + 1, cancellationToken).ConfigureAwait(false) is { } nested)
                    return nested;
            }
            else if (OciDocuments.ArtifactTypeOf(fetched.Content.Span) is { } type)
            {
                choice.Found.Add($"an artifact of type '{type}'");
            }
            else if (PlatformSelector.NamesPlatform(candidate)
                || await SuitsAsync(reference, fetched.Content, context, choice, cancellationToken).ConfigureAwait(false))
            {
                return (digest, fetched.Content);
            }
        }

        return null;
    }

    /// <summary>Whether an image runs here, by its configuration.</summary>
    private async Task<bool> SuitsAsync(ImageReference reference, ReadOnlyMemory<byte> manifest, FetchContext context, IndexChoice choice, CancellationToken cancellationToken)
    {
        Descriptor descriptor = OciDocuments.ParseManifest(reference, manifest.Span).Config;
        ImageConfig config = OciDocuments.ParseConfig(reference, await ReadConfigAsync(reference, descriptor, context, cancellationToken).ConfigureAwait(false));
        if (PlatformSelector.Suits(config, platform))
            return true;
        choice.Found.Add(new Platform { Os = config.Os, Architecture = config.Architecture, Variant = config.Variant }.ToString());
        return false;
    }

    /// <summary>What was looked at on the way to an image.</summary>
    private sealed class IndexChoice
    {
        public SortedSet<string> Found { get; } = new(StringComparer.Ordinal);

        /// <summary>What an index lists, and its source lacks.</summary>
        public SortedSet<string> Missing { get; } = new(StringComparer.Ordinal);

        public int Fetched { get; set; }

        public string Describe() => (Found.Count == 0 ? "none" : string.Join(", ", Found.Take(20)))
            + (Missing.Count == 0 ? "" : $", and what it has for {string.Join(", ", Missing.Take(20))} was not saved with it");
    }

    /// <summary>The digest that a document has, which is the one that was expected and the one that its source says.</summary>
    private static Digest Verify(ImageReference reference, FetchedManifest fetched, Digest expected)
    {
        if (fetched.Content.Length is 0 or > MaxDocumentBytes)
            throw new InvalidImageException(RunStage.Resolve, $"cannot use the manifest of image '{reference}': it has {fetched.Content.Length} bytes, expected 1 to {MaxDocumentBytes}.");
        Digest said = expected.IsEmpty ? fetched.Digest : expected;
        if (said.IsEmpty)
            return Digest.Compute(fetched.Content.Span);
        if (!said.Matches(fetched.Content.Span))
        {
            throw new InvalidImageException(
                RunStage.Resolve,
                $"cannot use the manifest of image '{reference}': its digest is {Digest.Compute(fetched.Content.Span)}, expected {said}. It was changed on the way, or its source is damaged.");
        }

        return said;
    }

    private async Task<StoredImage> PullAsync(
        ImageReference reference, Digest manifestDigest, FetchContext context, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        byte[] json = store.ReadBlob(manifestDigest) ?? throw new InvalidImageException(RunStage.Pull, $"cannot read manifest {manifestDigest} back from the cache.");
        OciDocuments.CheckIsImage(reference, json);
        ImageManifest manifest = OciDocuments.ParseManifest(reference, json);
        if (manifest.Layers.Count > MaxLayers)
            throw new InvalidImageException(RunStage.Pull, $"cannot use image '{reference}': it has {manifest.Layers.Count} layers, at most {MaxLayers} are allowed.");
        ImageConfig config = await PullConfigAsync(reference, manifest.Config, context, cancellationToken).ConfigureAwait(false);
        OciDocuments.Check(reference, manifest, config);
        IReadOnlyList<StoredLayer> stored = await layers.PullAsync(fetcher, reference, manifest.Layers, config.RootFs.DiffIds, context, progress, cancellationToken).ConfigureAwait(false);
        return Assemble(manifestDigest, config, stored);
    }

    private async Task<ImageConfig> PullConfigAsync(ImageReference reference, Descriptor descriptor, FetchContext context, CancellationToken cancellationToken)
    {
        if (store.ReadBlob(descriptor.Digest) is { } cached)
            return OciDocuments.ParseConfig(reference, cached);
        byte[] content = await ReadConfigAsync(reference, descriptor, context, cancellationToken).ConfigureAwait(false);
        ImageConfig config = OciDocuments.ParseConfig(reference, content);
        store.WriteBlob(descriptor.Digest, content);
        return config;
    }

    private async Task<byte[]> ReadConfigAsync(ImageReference reference, Descriptor descriptor, FetchContext context, CancellationToken cancellationToken)
    {
        if (descriptor.Size is <= 0 or > MaxDocumentBytes)
            throw new InvalidImageException(RunStage.Pull, $"cannot use the configuration of image '{reference}': it is said to have {descriptor.Size} bytes, expected 1 to {MaxDocumentBytes}.");
        using var blob = new BlobReader(fetcher, reference, descriptor, context);
        var content = new byte[descriptor.Size];
        await blob.ReadExactlyAsync(content, cancellationToken).ConfigureAwait(false);
        await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
        return content;
    }

    /// <param name="manifestDigest">The image's digest.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="baseFirst">Its layers, in the manifest's order.</param>
    private StoredImage Assemble(Digest manifestDigest, ImageConfig config, IReadOnlyList<StoredLayer> baseFirst)
    {
        var image = new StoredImage
        {
            ManifestDigest = manifestDigest,
            Config = config,
            Layers = [.. LayerStore.Shown(baseFirst)],
            HasUserFiles = !bundles.NeedsUserFiles(config),
        };
        if (_known.Count >= MostKnown)
            _known.Clear();
        return _known.GetOrAdd(manifestDigest, image);
    }
}
