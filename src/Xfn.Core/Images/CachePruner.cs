using Xfn.Core.Layers;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Images;

/// <summary>Removes from the cache what is old, what is too much, and what nothing refers to; never what a run uses.</summary>
internal sealed class CachePruner(CacheCatalog catalog, ImageStore store, ReferenceMap references, LayerStore layers, ImageUses uses, SparkLocator sparks, TimeProvider time)
{
    private static readonly TimeSpan LongestWrite = TimeSpan.FromHours(1);

    /// <summary>Whether the layers take more than they may.</summary>
    public bool IsOver(long bytes) => layers.List().Values.Sum() > bytes;

    /// <summary>Prunes.</summary>
    /// <param name="options">What to remove.</param>
    /// <param name="spared">Images that stay all the same; null for none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<PruneReport> PruneAsync(PruneOptions options, IReadOnlySet<Digest>? spared, CancellationToken cancellationToken)
    {
        CacheContent content = catalog.Read();
        List<ListedImage> kept = [.. content.Images.OrderBy(i => i.LastUsed)];
        int images = 0;
        long bytes = 0;
        foreach (ListedImage image in kept.ToArray())
        {
            cancellationToken.ThrowIfCancellationRequested();
            bool old = time.GetUtcNow() - image.LastUsed > options.MaxAge;
            bool much = image.Layers.Count > 0 && content.LayersOf(kept) > options.MaxBytes;
            if (!(old || much) || spared?.Contains(image.Digest) == true || !TryRemove(image))
                continue;
            kept.Remove(image);
            images++;
            bytes += content.Blobs.GetValueOrDefault(image.Digest);
        }

        bytes += RemoveDocuments(content, kept);
        HashSet<string> wanted = [.. kept.SelectMany(i => i.Layers)];
        IEnumerable<string> unwanted = UsesAreKnown(content) ? content.Layers.Keys.Where(id => !wanted.Contains(id)) : [];
        IReadOnlyList<string> removed = await layers.RemoveAsync(unwanted, catalog.WantedLayers, cancellationToken).ConfigureAwait(false);
        layers.RemoveLocks();
        store.RemoveTemporaries(time.GetUtcNow() - LongestWrite);
        bytes += sparks.RemoveUnused();

        // Who lives long begins seldom.
        await layers.SweepAsync(cancellationToken).ConfigureAwait(false);
        return new PruneReport { ImagesRemoved = images, LayersRemoved = removed.Count(id => !LayerStore.IsFlattened(id)), BytesFreed = bytes + removed.Sum(id => content.Layers[id]) };
    }

    /// <summary>Whether it is known which layers the images in use have; not so when the documents of one were damaged while it runs.</summary>
    private bool UsesAreKnown(CacheContent content)
    {
        HashSet<Digest> known = [.. content.Images.Where(i => i.HasConfig).Select(i => i.Digest)];
        return uses.List().Where(d => !known.Contains(d)).All(d => !uses.IsHeld(d));
    }

    private bool TryRemove(ListedImage image)
    {
        // Used since it was listed.
        if (uses.LastUseOf(image.Digest) > image.LastUsed)
            return false;
        using FileStream? held = uses.TryTake(image.Digest);
        if (held is null)
            return false;
        Remove(image.Digest);
        File.Delete(held.Name);
        return true;
    }

    private void Remove(Digest digest)
    {
        foreach (KnownReference reference in references.List()[digest])
            ReferenceMap.Remove(reference);
        store.RemoveBlob(digest);
    }

    /// <summary>Removes what no image refers to: configurations, documents that are damaged, references that lead nowhere, lock files.</summary>
    private long RemoveDocuments(CacheContent content, List<ListedImage> kept)
    {
        long bytes = 0;
        HashSet<Digest> wanted = [.. kept.Select(i => i.Digest), .. kept.Select(i => i.Config)];
        foreach ((Digest digest, long size) in content.Blobs)
        {
            if (wanted.Contains(digest) || content.Images.Any(i => i.Digest == digest))
                continue;
            store.RemoveBlob(digest);
            bytes += size;
        }

        IReadOnlyDictionary<Digest, long> left = store.ListBlobs();
        foreach (Digest image in uses.List().Concat(references.List().Select(r => r.Key)).Distinct().Where(d => !left.ContainsKey(d)).ToArray())
        {
            using FileStream? held = uses.TryTake(image);
            if (held is null || store.ListBlobs().ContainsKey(image))
                continue;
            Remove(image);
            File.Delete(held.Name);
        }

        return bytes;
    }
}
