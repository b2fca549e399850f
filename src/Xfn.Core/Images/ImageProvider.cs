using System.Collections.Concurrent;
using System.Text.Json;
using Xfn.Core.Layers;
using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>Gives images that can be run: from the cache, or from where the fetcher gets them.</summary>
internal sealed class ImageProvider(
    ImageResolver resolver, ImageStore store, ReferenceMap references, LayerStore layers, LayerPuller puller, ImageLeases leases, UserFileReader users, IBundleBuilder bundles, CacheKeeper keeper)
{
    private const int MaxLayers = 256;

    // More images than programs run repeatedly, longer user files than honest images have; the cache has the rest.
    private const int MostKnown = 1024;
    private const int MostUserFileBytes = 256 << 10;

    private readonly ConcurrentDictionary<Digest, StoredImage> _known = new();

    /// <summary>Gives an image. Whoever wants to know is told of each layer that is not in the cache.</summary>
    /// <returns>The image, which nobody prunes until this is disposed.</returns>
    public async ValueTask<LeasedImage> GetAsync(
        ImageReference reference, ImagePullConfig config, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        LeasedImage leased = await store.GuardAsync(() => FindOrPullAsync(reference, config, progress, cancellationToken)).ConfigureAwait(false);
        XfnTelemetry.CountLookup(leased.FromCache);
        try
        {
            if (!leased.Image.HasUserFiles)
            {
                StoredImage image = await users.CompleteAsync(reference, leased.Image, cancellationToken).ConfigureAwait(false);
                if (image.Passwd.Length + image.Group.Length <= MostUserFileBytes)
                    _known[image.ManifestDigest] = image;
                leased = leased with { Image = image };
            }

            if (!leased.FromCache)
                keeper.ClearBehind(leased.Image.ManifestDigest);
            return leased;
        }
        catch
        {
            leased.Dispose();
            throw;
        }
    }

    /// <summary>Gives an image with its users' files, also where its own user does not take them.</summary>
    public async ValueTask<StoredImage> WithUserFilesAsync(ImageReference reference, StoredImage image, CancellationToken cancellationToken) =>
        image.Passwd.IsEmpty && image.Group.IsEmpty ? await users.CompleteAsync(reference, image, cancellationToken).ConfigureAwait(false) : image;

    /// <summary>The manifest that a reference leads to now, after pulling the image where that is another than before;
    /// null when nobody is to be asked.</summary>
    public async ValueTask<Digest?> FindNewestAsync(ImageReference reference, ImagePullConfig config, ResolvedReference known, CancellationToken cancellationToken)
    {
        if (!resolver.Asks(reference, config))
            return null;
        if (await resolver.IsCurrentAsync(reference, config, known, cancellationToken).ConfigureAwait(false))
        {
            XfnTelemetry.CountLookup(true);
            return known.Manifest;
        }

        using LeasedImage newest = await GetAsync(reference, config, null, cancellationToken).ConfigureAwait(false);
        return newest.Image.ManifestDigest;
    }

    /// <summary>Whether a given image has lost a layer since; the next request then looks for it anew.</summary>
    public bool IsDamaged(StoredImage image)
    {
        if (image.Layers.All(layers.Exists))
            return false;
        _known.TryRemove(image.ManifestDigest, out _);
        return true;
    }

    private async ValueTask<LeasedImage> FindOrPullAsync(
        ImageReference reference, ImagePullConfig config, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        ResolvedReference? resolved = references.Read(reference)
            ?? (reference.Digest.IsEmpty || reference.IsLocal ? null : new ResolvedReference(reference.Digest, reference.Digest));

        // An image is leased before it is looked at, so that what is found stays.
        ImageLease? lease = resolved is null ? null : await leases.LeaseAsync(resolved.Manifest, cancellationToken).ConfigureAwait(false);
        try
        {
            StoredImage? cached = resolved is null ? null : Load(reference, resolved.Manifest);
            if (cached is not null && !resolver.Asks(reference, config))
                return new LeasedImage(cached, true, lease!, resolved!);
            if (config.PullPolicy == ImagePullPolicy.Never)
                throw new ImageNotFoundException($"cannot find image '{reference}' in the cache, and the pull policy is Never. Pull it first, or use IfNotPresent.");

            var context = new FetchContext { Auth = config.Auth, KnownDigest = cached is not null ? resolved!.Top : default };
            (ResolvedReference current, ReadOnlyMemory<byte> manifest) = await resolver.ResolveAsync(reference, context, resolved, cancellationToken).ConfigureAwait(false);
            if (current.Manifest != resolved?.Manifest)
            {
                lease?.Dispose();
                lease = null;
                lease = await leases.LeaseAsync(current.Manifest, cancellationToken).ConfigureAwait(false);
            }

            // The manifest comes first: a pruner that took a layer reads manifests after it, and may return it.
            if (!manifest.IsEmpty)
                store.WriteBlob(current.Manifest, manifest.Span);
            StoredImage? unchanged = Load(reference, current.Manifest);
            StoredImage image = unchanged ?? await PullAsync(reference, current.Manifest, context, progress, cancellationToken).ConfigureAwait(false);
            if (unchanged is null || current != resolved)
                references.Write(reference, current);
            return new LeasedImage(image, unchanged is not null, lease!, current);
        }
        catch
        {
            lease?.Dispose();
            throw;
        }
    }

    /// <summary>Whether a found image still has all its layers. Taking one away changes their directory, so one look is
    /// enough while nothing came or went. A change at the instant of the last look shows at the mount.</summary>
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
    private StoredImage? Load(ImageReference reference, Digest manifestDigest)
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
            StoredLayer[] stored = [.. manifest.Layers.Select((_, i) => layers.Find(manifest.Layers, config.RootFs.DiffIds, i)).OfType<StoredLayer>()];
            return stored.Length == manifest.Layers.Count ? Assemble(reference, manifestDigest, config, stored) : null;
        }
        catch (JsonException)
        {
            // An index, not a manifest: a reference by digest says nothing of what it is the digest of.
            return null;
        }
    }

    private async Task<StoredImage> PullAsync(
        ImageReference reference, Digest manifestDigest, FetchContext context, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        byte[] json = store.ReadBlob(manifestDigest) ?? throw new InvalidImageException(RunStage.Pull, $"cannot read manifest {manifestDigest} back from the cache.");
        OciDocuments.CheckIsImage(reference, json);
        ImageManifest manifest = OciDocuments.ParseManifest(reference, json);
        if (manifest.Layers.Count > MaxLayers)
            throw new InvalidImageException(RunStage.Pull, $"cannot use image '{reference}': it has {manifest.Layers.Count} layers, at most {MaxLayers} are allowed.");

        byte[]? cached = store.ReadBlob(manifest.Config.Digest);
        byte[] content = cached ?? await resolver.ReadConfigAsync(reference, manifest.Config, context, cancellationToken).ConfigureAwait(false);
        ImageConfig config = OciDocuments.ParseConfig(reference, content);
        OciDocuments.Check(reference, manifest, config);
        if (cached is null)
            store.WriteBlob(manifest.Config.Digest, content);
        IReadOnlyList<StoredLayer> stored = await puller.PullAsync(reference, manifest.Layers, config.RootFs.DiffIds, context, progress, cancellationToken).ConfigureAwait(false);
        return Assemble(reference, manifestDigest, config, stored);
    }

    private StoredImage Assemble(ImageReference reference, Digest manifestDigest, ImageConfig config, IReadOnlyList<StoredLayer> baseFirst)
    {
        var image = new StoredImage
        {
            ManifestDigest = manifestDigest,
            Config = config,
            Layers = [.. StoredLayer.VisibleLayers(baseFirst)],
            HasUserFiles = !bundles.NeedsUserFiles(config),
        };
        puller.CheckLimits(reference, image.Layers);
        if (_known.Count >= MostKnown)
            _known.Clear();
        return _known.GetOrAdd(manifestDigest, image);
    }
}
