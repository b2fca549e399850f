using Xfn.Core.Cache;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>Removes what is old, too much, or referred to by nothing from the cache; never what a run leases.</summary>
internal sealed class CachePruner(CacheCatalog catalog, ImageStore store, ReferenceMap references, LayerStore layers, ImageLeases leases, SparkBinaryCache binaries, TimeProvider time)
{
    private static readonly TimeSpan LongestWrite = TimeSpan.FromHours(1);

    public bool IsOver(long bytes) => layers.List().Values.Sum() > bytes;

    /// <summary>Prunes; some images stay all the same.</summary>
    public async Task<PruneReport> PruneAsync(PruneOptions options, IReadOnlySet<Digest>? spared, CancellationToken cancellationToken)
    {
        CacheContent content = catalog.Read();
        List<CatalogEntry> kept = [.. content.Images.OrderBy(i => i.LastUsed)];
        int images = 0;
        long bytes = 0;
        foreach (CatalogEntry image in kept.ToArray())
        {
            cancellationToken.ThrowIfCancellationRequested();
            bool old = time.GetUtcNow() - image.LastUsed > options.MaxAge;
            bool much = image.Layers.Count > 0 && content.LayersOf(kept) > options.MaxBytes;
            if (!(old || much) || spared?.Contains(image.Digest) == true || TryRemove(image) is not { } freed)
                continue;
            kept.Remove(image);
            images += image.IsWhole ? 1 : 0;
            bytes += freed;
        }

        bytes += RemoveDocuments(content, kept);
        HashSet<string> wanted = [.. kept.SelectMany(i => i.Layers)];
        IEnumerable<string> unwanted = LeasesAreKnown(content) ? content.Layers.Keys.Where(id => !wanted.Contains(id)) : [];
        RemovedLayers removed = await layers.RemoveAsync(unwanted, catalog.WantedLayers, cancellationToken).ConfigureAwait(false);
        layers.RemoveLocks();
        bytes += removed.Bytes + store.RemoveTemporaries(time.GetUtcNow() - LongestWrite) + binaries.RemoveUnused();
        return new PruneReport { ImagesRemoved = images, LayersRemoved = removed.Count, BytesFreed = bytes };
    }

    /// <summary>Removes a reference, and the image where no other leads to it; all of them where it is empty.</summary>
    /// <returns>Null when the image is in use, and so stays.</returns>
    public async Task<PruneReport?> RemoveAsync(Digest digest, string reference, CancellationToken cancellationToken)
    {
        CacheContent content = catalog.Read();
        if (content.Images.FirstOrDefault(i => i.Digest == digest) is not { } image)
            return new PruneReport { ImagesRemoved = 0, LayersRemoved = 0, BytesFreed = 0 };
        if (reference.Length > 0 && references.List()[digest].Any(r => r.Name != reference))
            return new PruneReport { ImagesRemoved = 0, LayersRemoved = 0, BytesFreed = references.Remove(digest, reference) };
        if (TryRemove(image) is not { } bytes)
            return null;

        CatalogEntry[] kept = [.. content.Images.Where(i => i != image)];
        if (kept.All(i => i.Config != image.Config))
            bytes += store.RemoveBlob(image.Config);
        HashSet<string> wanted = [.. kept.SelectMany(i => i.Layers)];
        IEnumerable<string> unwanted = LeasesAreKnown(content) ? image.Layers.Where(id => !wanted.Contains(id)) : [];
        RemovedLayers removed = await layers.RemoveAsync(unwanted, catalog.WantedLayers, cancellationToken).ConfigureAwait(false);
        return new PruneReport { ImagesRemoved = 1, LayersRemoved = removed.Count, BytesFreed = bytes + removed.Bytes };
    }

    /// <summary>Whether the leased images' layers are known; not if one's documents were damaged in its run.</summary>
    private bool LeasesAreKnown(CacheContent content)
    {
        HashSet<Digest> known = [.. content.Images.Where(i => i.HasConfig).Select(i => i.Digest)];
        return leases.List().Where(d => !known.Contains(d)).All(d => !leases.IsLeased(d));
    }

    /// <returns>How many bytes of the disk that gave back; null when it stays.</returns>
    private long? TryRemove(CatalogEntry image)
    {
        // Leased since it was listed.
        if (leases.LastUseOf(image.Digest) > image.LastUsed)
            return null;
        using FileStream? held = leases.TryTake(image.Digest);
        return held is null ? null : Remove(image.Digest) + CountedRemoval.RemoveFile(held.Name);
    }

    private long Remove(Digest digest) => references.List()[digest].Sum(ReferenceMap.Remove) + store.RemoveBlob(digest);

    /// <summary>Removes what no image refers to: configurations, damaged documents, dead references, locks.</summary>
    private long RemoveDocuments(CacheContent content, List<CatalogEntry> kept)
    {
        long bytes = 0;
        HashSet<Digest> wanted = [.. kept.Select(i => i.Digest), .. kept.Select(i => i.Config)];
        foreach (Digest digest in content.Blobs.Keys)
        {
            if (!wanted.Contains(digest) && content.Images.All(i => i.Digest != digest))
                bytes += store.RemoveBlob(digest);
        }

        IReadOnlyDictionary<Digest, long> left = store.ListBlobs();
        foreach (Digest image in leases.List().Concat(references.List().Select(r => r.Key)).Distinct().Where(d => !left.ContainsKey(d)).ToArray())
        {
            using FileStream? held = leases.TryTake(image);
            if (held is null || store.ListBlobs().ContainsKey(image))
                continue;
            bytes += Remove(image) + CountedRemoval.RemoveFile(held.Name);
        }

        return bytes;
    }
}
