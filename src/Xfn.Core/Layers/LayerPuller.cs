using System.Collections.Concurrent;
using Xfn.Core.Cache;
using Xfn.Core.Spark;

namespace Xfn.Core.Layers;

/// <summary>Brings an image's layers into the store: each blob once, however many want it, and only when size, digest
/// and DiffID hold.</summary>
internal sealed class LayerPuller(IImageFetcher fetcher, LayerStore store, CacheDirectory cache, SparkLauncher sparks, UnpackLimits limits, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, LayerPull> _pulling = new();

    /// <summary>Refuses an image whose layers, each given once and null for those that are not there yet, are too much
    /// together.</summary>
    public void CheckLimits(ImageReference reference, IEnumerable<StoredLayer?> layers)
    {
        long bytes = 0, entries = 0;
        foreach (StoredLayer? layer in layers)
        {
            bytes += layer?.Record.Bytes ?? 0;
            entries += layer?.Record.Entries ?? 0;
        }

        if (bytes > limits.MaxImageBytes)
            throw LayerTransfer.OverLimit($"image '{reference}'", $"its layers take more than {limits.MaxImageBytes} bytes", nameof(limits.MaxImageBytes));
        if (entries > limits.MaxImageEntries)
            throw LayerTransfer.OverLimit($"image '{reference}'", $"its layers have more than {limits.MaxImageEntries} entries", nameof(limits.MaxImageEntries));
    }

    /// <summary>Fetches and unpacks the layers that the cache lacks, as many at once as there are processors.</summary>
    /// <returns>All layers, in order.</returns>
    public async Task<IReadOnlyList<StoredLayer>> PullAsync(
        ImageReference reference, IReadOnlyList<Descriptor> blobs, IReadOnlyList<Digest> diffIds,
        FetchContext context, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        StoredLayer?[] stored = [.. blobs.Select((_, i) => store.Find(blobs, diffIds, i))];
        CheckLimits(reference, stored.DistinctBy(l => l?.Id));
        await Parallel.ForEachAsync(
            Enumerable.Range(0, blobs.Count),
            new ParallelOptions { MaxDegreeOfParallelism = Math.Max(2, Environment.ProcessorCount), CancellationToken = cancellationToken },
            async (i, token) =>
            {
                try
                {
                    if (stored[i] is null)
                        await PullOneAsync(i, SourceOf(i), LayerNames.Of(diffIds[i]), null, token).ConfigureAwait(false);
                    else
                        SourceOf(i).Report(PullPhase.Done, blobs[i].Size);
                }
                catch (LayerNeedsParentsException)
                {
                    // Below.
                }
            }).ConfigureAwait(false);

        // Those that need what lies below them, from the lowest up: each now has all below it.
        for (int i = 0; i < stored.Length; i++)
        {
            if (stored[i] is { Record.WhiteoutDirectories.Count: 0 })
                continue;
            StoredLayer[] under = [.. StoredLayer.VisibleLayers(stored.Take(i).Select(l => l!))];
            string[] below = [.. under.Select(l => l.Files)];
            if (stored[i] is { } own && await FindAboveAsync(own, diffIds, i, below, cancellationToken).ConfigureAwait(false) is { } whole)
            {
                stored[i] = whole;
                continue;
            }

            LayerSource source = SourceOf(i) with { IdsBelow = (under.Max(l => (uint?)l.Record.HighestUid) ?? 0, under.Max(l => (uint?)l.Record.HighestGid) ?? 0) };
            await PullOneAsync(i, source, LayerNames.OfChain(diffIds, i), below, cancellationToken).ConfigureAwait(false);
        }

        store.Flush(stored!);
        return stored!;

        LayerSource SourceOf(int i) => new(fetcher, reference, blobs[i], diffIds[i], context, limits) { Progress = progress };

        async Task PullOneAsync(int i, LayerSource source, string id, string[]? below, CancellationToken token)
        {
            stored[i] = await PullOnceAsync(source, id, below, token).ConfigureAwait(false);
            CheckLimits(reference, stored.DistinctBy(l => l?.Id));
            source.Report(PullPhase.Done, source.Blob.Size);
        }
    }

    /// <summary>Finds out whether the layers below have what a layer hides things in; null when they do not, and it has
    /// to be unpacked with regard to them.</summary>
    private async Task<StoredLayer?> FindAboveAsync(StoredLayer layer, IReadOnlyList<Digest> diffIds, int index, string[] below, CancellationToken cancellationToken)
    {
        if (layer.IsKnownAbove(diffIds, index))
            return layer;
        if (index == 0)
            return null;
        var question = new SparkFindDirectories(new SparkLayers(".", below), layer.Record.WhiteoutDirectories);
        if (!(await sparks.AskAsync<SparkFound>(RunStage.Unpack, cache.Store, question, null, cancellationToken).ConfigureAwait(false)).All)
            return null;
        using FileStream held = await store.LockAsync(layer.Id, null, cancellationToken).ConfigureAwait(false);
        return store.Find(layer.Id) is { Record: var record }
            ? store.Update(layer.Id, record with { Above = [.. record.Above, LayerNames.OfChain(diffIds, index - 1)] })
            : null;
    }

    /// <summary>Pulls a layer that perhaps others of this process want as well: they share the one pull, and when
    /// whoever began it gives up another begins anew. What it proves and why it fails is another's matter where their
    /// images differ: a DiffID is only claimed, and credentials are each caller's own.</summary>
    private async Task<StoredLayer> PullOnceAsync(LayerSource source, string id, string[]? below, CancellationToken cancellationToken)
    {
        while (true)
        {
            var mine = new LayerPull(source, pull => PullLockedAsync(source with { Progress = pull }, id, below, pull, cancellationToken), time);
            LayerPull pull = _pulling.GetOrAdd(id, mine);
            try
            {
                // One's own is awaited to its end, so that nothing of it goes on behind a caller who gave up.
                StoredLayer layer = await (pull == mine ? pull.Completion : pull.JoinAsync(source, cancellationToken)).ConfigureAwait(false);
                if (pull == mine || layer.IsOf(source.Blob))
                    return layer;

                // It was another blob that was found to be the layer. Whether ours is it too remains to be seen.
            }
            catch (OperationCanceledException) when (pull != mine && !cancellationToken.IsCancellationRequested)
            {
                // Whoever was pulling has been cancelled. That is not our end.
            }
            catch (Exception ex) when (ex is XfnException or LayerNeedsParentsException && pull != mine && !pull.IsOf(source))
            {
                // Another image's failure, or another caller's.
            }
            finally
            {
                if (pull == mine || pull.Completion.IsCompleted)
                    _pulling.TryRemove(KeyValuePair.Create(id, pull));
            }
        }
    }

    private async Task<StoredLayer> PullLockedAsync(LayerSource source, string id, string[]? below, LayerPull pull, CancellationToken cancellationToken)
    {
        LayerPosition? told = null;
        using FileStream held = await store.LockAsync(id, () => pull.Observe(store.LockOf(id), ref told), cancellationToken).ConfigureAwait(false);
        pull.Begin(held);
        try
        {
            return store.Find(id) is { } another
                ? await ProveAsync(source, another, cancellationToken).ConfigureAwait(false)
                : await store.MakeLockedAsync(id, directory => UnpackAsync(source, directory, below, cancellationToken)).ConfigureAwait(false);
        }
        finally
        {
            pull.End();
        }
    }

    private async Task<LayerRecord> UnpackAsync(LayerSource source, string directory, string[]? below, CancellationToken cancellationToken)
    {
        SparkUnpacked unpacked = await LayerTransfer.UnpackAsync(sparks, source, directory, cache.StoreFromIncoming, below, cancellationToken).ConfigureAwait(false);
        return new LayerRecord
        {
            DiffId = source.DiffId.ToString(),
            Blobs = [source.Blob.Digest.ToString()],
            Entries = unpacked.Entries,
            Bytes = unpacked.Bytes,
            HasRoot = unpacked.HasRoot,
            RootMode = unpacked.RootMode,
            RootUid = unpacked.RootUid,
            RootGid = unpacked.RootGid,
            OpaqueRoot = unpacked.OpaqueRoot,
            WhiteoutDirectories = unpacked.WhiteoutDirectories,
            Warnings = unpacked.Warnings,
        }.WithIds(Math.Max(unpacked.HighestUid, source.IdsBelow.Uid), Math.Max(unpacked.HighestGid, source.IdsBelow.Gid), sparks.Mapping);
    }

    /// <summary>Finds out that a blob is a layer that the cache has from another, by reading it.</summary>
    private async Task<StoredLayer> ProveAsync(LayerSource source, StoredLayer layer, CancellationToken cancellationToken)
    {
        if (layer.IsOf(source.Blob))
            return layer;
        await LayerTransfer.VerifyAsync(source, cancellationToken).ConfigureAwait(false);
        return store.Update(layer.Id, layer.Record with { Blobs = [.. layer.Record.Blobs, source.Blob.Digest.ToString()] });
    }
}
