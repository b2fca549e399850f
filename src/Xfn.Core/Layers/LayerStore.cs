using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Xfn.Core.Cache;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Layers;

/// <summary>Unpacked layers, each in a directory of its own that appears when, and only when, size, digest and DiffID held.</summary>
/// <remarks>A layer is kept under its DiffID. One that needs those below it (it links to their files, or lacks entries for their directories) can mean different things above different layers and is kept under its ChainID
/// (<see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-chainid">image-spec, Layer ChainID</see>).</remarks>
internal sealed class LayerStore(CacheDirectory cache, SparkLauncher sparks, UnpackLimits limits, TimeProvider time, ILogger logger)
{
    private const string RecordName = "layer.json";
    private const string FlattenedSuffix = ".flat";
    private const int SweepAttempts = 5;

    private static readonly TimeSpan SweepPause = TimeSpan.FromMilliseconds(200);

    private readonly string _layers = Path.Combine(cache.Store, "layers");
    private readonly LayerUnpacker _unpacker = new(sparks);
    private readonly LayerFlusher _sync = new(cache, logger);
    private readonly ConcurrentDictionary<string, LayerPull> _pulling = new();

    /// <summary>A layer of an image, if the cache has it and the image's blob is known to be it: a DiffID is only claimed, and one who claims another's must not get its files.</summary>
    /// <param name="blobs">The image's blobs, the base first.</param>
    /// <param name="diffIds">Their DiffIDs.</param>
    /// <param name="index">Which.</param>
    public StoredLayer? Find(IReadOnlyList<Descriptor> blobs, IReadOnlyList<Digest> diffIds, int index) =>
        (Find(NameOf(diffIds[index])) is { } own && IsKnownAbove(own, diffIds, index) ? own : Find(ChainNameOf(diffIds, index))) is { } layer
        && layer.Record.Blobs.Contains(blobs[index].Digest.ToString()) ? layer : null;

    /// <summary>When a layer last came or went.</summary>
    public DateTime LastChange => Directory.GetLastWriteTimeUtc(_layers);

    /// <summary>Whether a layer that was found still is there: another process may have pruned the cache.</summary>
    public bool Exists(StoredLayer layer) => Directory.Exists(DirectoryOf(layer.Id));

    /// <summary>Refuses an image whose layers are too much together.</summary>
    /// <param name="reference">The image.</param>
    /// <param name="layers">Its layers, each once; null for those that are not there yet.</param>
    public void CheckLimits(ImageReference reference, IEnumerable<StoredLayer?> layers) => limits.CheckImage(reference, layers);

    /// <summary>Fetches and unpacks the layers that the cache lacks, as many at once as there are processors.</summary>
    /// <returns>All layers, in order.</returns>
    public async Task<IReadOnlyList<StoredLayer>> PullAsync(
        IImageFetcher fetcher,
        ImageReference reference,
        IReadOnlyList<Descriptor> blobs,
        IReadOnlyList<Digest> diffIds,
        FetchContext context,
        IProgress<PullProgress>? progress,
        CancellationToken cancellationToken)
    {
        LayerSource SourceOf(int i) => new(fetcher, reference, blobs[i], diffIds[i], context, limits) { Progress = progress };
        StoredLayer?[] stored = [.. blobs.Select((_, i) => Find(blobs, diffIds, i))];
        CheckLimits(reference, stored.DistinctBy(l => l?.Id));
        await Parallel.ForEachAsync(
            Enumerable.Range(0, blobs.Count),
            new ParallelOptions { MaxDegreeOfParallelism = Math.Max(2, Environment.ProcessorCount), CancellationToken = cancellationToken },
            async (i, token) =>
            {
                try
                {
                    stored[i] ??= await PullOnceAsync(SourceOf(i), NameOf(diffIds[i]), null, token).ConfigureAwait(false);
                    CheckLimits(reference, stored.DistinctBy(l => l?.Id));
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
            StoredLayer[] under = [.. Shown(stored.Take(i).Select(l => l!))];
            string[] below = [.. under.Select(l => l.Files)];
            if (stored[i] is { } own && await FindAboveAsync(own, diffIds, i, below, cancellationToken).ConfigureAwait(false) is { } whole)
            {
                stored[i] = whole;
                continue;
            }

            LayerSource source = SourceOf(i) with { IdsBelow = (under.Max(l => (uint?)l.Record.HighestUid) ?? 0, under.Max(l => (uint?)l.Record.HighestGid) ?? 0) };
            stored[i] = await PullOnceAsync(source, ChainNameOf(diffIds, i), below, cancellationToken).ConfigureAwait(false);
            CheckLimits(reference, stored.DistinctBy(l => l?.Id));
            SourceOf(i).Report(PullPhase.Done, blobs[i].Size);
        }

        _sync.Begin(stored!, MarkDurableAsync);
        return stored!;
    }

    /// <summary>Whether it is known that a layer, unpacked without regard to what lies below, hides there only what is there.</summary>
    private static bool IsKnownAbove(StoredLayer layer, IReadOnlyList<Digest> diffIds, int index) =>
        layer.Record.WhiteoutDirectories.Count == 0 || index > 0 && layer.Record.Above.Contains(ChainNameOf(diffIds, index - 1));

    /// <summary>Finds out whether the layers below have what a layer hides things in; null when they do not, and it has to be unpacked with regard to them.</summary>
    private async Task<StoredLayer?> FindAboveAsync(StoredLayer layer, IReadOnlyList<Digest> diffIds, int index, string[] below, CancellationToken cancellationToken)
    {
        if (IsKnownAbove(layer, diffIds, index))
            return layer;
        if (index == 0 || !await _unpacker.HaveDirectoriesAsync(cache.Store, below, layer.Record.WhiteoutDirectories, cancellationToken).ConfigureAwait(false))
            return null;
        using FileStream held = await FileLock.TakeAsync(LockOf(layer.Id), time, static () => { }, cancellationToken).ConfigureAwait(false);
        if (Find(layer.Id) is not { } current)
            return null;
        StoredLayer known = current with { Record = current.Record with { Above = [.. current.Record.Above, ChainNameOf(diffIds, index - 1)] } };
        cache.Write(RecordOf(DirectoryOf(layer.Id)), known.Record.ToJson());
        return known;
    }

    /// <summary>Those of layers that show when they lie upon one another.</summary>
    /// <param name="baseFirst">The layers, the base first.</param>
    /// <returns>The uppermost first.</returns>
    public static IEnumerable<StoredLayer> Shown(IEnumerable<StoredLayer> baseFirst)
    {
        StoredLayer[] layers = [.. baseFirst];

        // Overlayfs does not honour an opaque root, so what it hides is left out. And it takes a directory once: where a layer comes twice its upper place has all that its lower one has.
        int first = Math.Max(0, Array.FindLastIndex(layers, l => l.Record.OpaqueRoot));
        return layers.Skip(first).Reverse().DistinctBy(l => l.Id);
    }

    /// <summary>Waits until what was pulled is on disk.</summary>
    public Task FinishAsync() => _sync.FinishAsync();

    /// <summary>The layers of the cache, and what was made of them.</summary>
    public IReadOnlyDictionary<string, long> List() => SizesOf(Directory.EnumerateDirectories(_layers).Select(d => Path.GetFileName(d)!).Concat(Flattened()));

    /// <summary>Those that one image has.</summary>
    /// <param name="diffIds">Its layers' DiffIDs.</param>
    public IReadOnlyDictionary<string, long> ListOf(IReadOnlyList<Digest> diffIds)
    {
        HashSet<string> names = [.. NamesOf(diffIds)];
        return SizesOf(names.Where(name => !IsFlattened(name) && Directory.Exists(DirectoryOf(name))).Concat(Flattened().Where(id => names.Contains(BaseOf(id)))));
    }

    /// <summary>Whether each of an image's layers has a name that is among these.</summary>
    public static bool AreAllAmong(IReadOnlyList<Digest> diffIds, IReadOnlyDictionary<string, long> names) =>
        Enumerable.Range(0, diffIds.Count).All(i => names.ContainsKey(NameOf(diffIds[i])) || names.ContainsKey(ChainNameOf(diffIds, i)));

    /// <summary>The names that an image's layers may have, and what the names of what was made of them all start with.</summary>
    public static IEnumerable<string> NamesOf(IReadOnlyList<Digest> diffIds) =>
        diffIds.Select(NameOf).Concat(Enumerable.Range(0, diffIds.Count).Select(i => ChainNameOf(diffIds, i))).Append(ChainNameOf(diffIds, diffIds.Count - 1) + FlattenedSuffix);

    /// <summary>The one of <see cref="NamesOf"/> that a name in the store belongs to.</summary>
    public static string BaseOf(string id) => IsFlattened(id) ? id[..(id.IndexOf(FlattenedSuffix, StringComparison.Ordinal) + FlattenedSuffix.Length)] : id;

    /// <summary>Whether a name in the store is not a layer's, but that of an image's layers flattened.</summary>
    public static bool IsFlattened(string id) => id.Contains(FlattenedSuffix, StringComparison.Ordinal);

    /// <summary>The name of an image's layers flattened.</summary>
    /// <param name="chainName">What the layers together are named.</param>
    /// <param name="variant">Tells it from others of the same layers.</param>
    public static string FlattenedNameOf(string chainName, string variant) => $"{chainName}{FlattenedSuffix}-{variant}";

    /// <summary>The name of all of an image's layers together.</summary>
    public static string ChainNameOf(IReadOnlyList<Digest> diffIds) => ChainNameOf(diffIds, diffIds.Count - 1);

    /// <summary>Gives what has a name in the store, after making it where it is not there. One process does so at a time.</summary>
    /// <param name="id">The name.</param>
    /// <param name="make">Makes <c>fs</c> in a directory.</param>
    /// <param name="cancellationToken">Ends the wait for another who makes it.</param>
    public async Task<StoredLayer> MakeAsync(string id, Func<string, Task<LayerRecord>> make, CancellationToken cancellationToken)
    {
        if (Find(id) is { } found)
            return found;
        using FileStream held = await FileLock.TakeAsync(LockOf(id), time, static () => { }, cancellationToken).ConfigureAwait(false);
        if (Find(id) is { } another)
            return another;
        string incoming = cache.NewIncoming();
        try
        {
            LayerRecord record = await make(incoming).ConfigureAwait(false) with { Boot = LayerFlusher.Boot };
            StoredLayer made = await PublishAsync(incoming, id, record, cancellationToken).ConfigureAwait(false);
            _sync.Begin([made], MarkDurableAsync);
            return made;
        }
        catch
        {
            await TryRemoveAsync(incoming).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Removes layers that no image wants.</summary>
    /// <param name="ids">The layers.</param>
    /// <param name="wanted">Gives those of all layers that images want by now. It is asked when the layers are out of sight: whoever wanted one before that is found so,
    /// and whoever wants one later finds it missing.</param>
    /// <param name="cancellationToken">Ends the removal; what is out of sight by then is removed all the same.</param>
    /// <returns>What was removed.</returns>
    public async Task<RemovedLayers> RemoveAsync(IEnumerable<string> ids, Func<IReadOnlySet<string>> wanted, CancellationToken cancellationToken)
    {
        var taken = new List<(string Id, string Directory, FileStream Held)>();
        var removed = new HashSet<string>();
        long bytes = 0;
        try
        {
            foreach (string id in ids)
            {
                if (cancellationToken.IsCancellationRequested)
                    break;

                // Who pulls it, or removes it, has the lock.
                if (FileLock.Try(LockOf(id)) is not { } held)
                    continue;
                taken.Add((id, cache.NewIncomingPath(), held));
                if (Directory.Exists(DirectoryOf(id)))
                    Directory.Move(DirectoryOf(id), taken[^1].Directory);
            }

            IReadOnlySet<string> still = taken.Count == 0 ? new HashSet<string>() : wanted();
            foreach ((string id, string directory, FileStream held) in taken)
            {
                if (!Directory.Exists(directory))
                    continue;
                if (still.Contains(BaseOf(id)))
                    Directory.Move(directory, DirectoryOf(id));
                else
                    removed.Add(id);
            }
        }
        finally
        {
            foreach ((string id, string _, FileStream held) in taken)
            {
                if (removed.Contains(id) || !Directory.Exists(DirectoryOf(id)))
                    File.Delete(held.Name);
                await held.DisposeAsync().ConfigureAwait(false);
            }
        }

        foreach ((string id, string directory, FileStream _) in taken.Where(t => Directory.Exists(t.Directory)))
        {
            CacheDirectory.Unseal(directory);
            if (await TryRemoveAsync(directory).ConfigureAwait(false) is { } freed)
                bytes += freed;
            else
                removed.Remove(id);
        }

        cancellationToken.ThrowIfCancellationRequested();
        return new RemovedLayers(removed.Count(id => !IsFlattened(id)), bytes);
    }

    /// <summary>Removes the lock files of layers that are not in the cache.</summary>
    public void RemoveLocks()
    {
        foreach (string path in Directory.EnumerateFiles(cache.Locks).Where(p => IsName(Path.GetFileName(p))))
        {
            if (Directory.Exists(DirectoryOf(Path.GetFileName(path))))
                continue;
            using FileStream? held = FileLock.Try(path);
            if (held is not null && !Directory.Exists(DirectoryOf(Path.GetFileName(path))))
                File.Delete(path);
        }
    }

    /// <summary>Clears what processes that have ended left behind.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public Task<long> SweepAsync(CancellationToken cancellationToken) => cache.SweepAsync(directory => SweepAsync(directory, cancellationToken));

    /// <summary>Removes what this process could not remove when its turn was; to be called when nothing is unpacked any more.</summary>
    public async Task ClearAsync()
    {
        foreach (string directory in cache.ListIncoming())
            await TryRemoveAsync(directory).ConfigureAwait(false);
    }

    /// <summary>A spark whose runner was killed ends within moments, and may write its last while this goes on.</summary>
    private async Task<long?> SweepAsync(string directory, CancellationToken cancellationToken)
    {
        for (int attempt = 1; attempt < SweepAttempts; attempt++)
        {
            try
            {
                return await _unpacker.RemoveAsync(directory, sparks.Mapping, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException)
            {
                await Task.Delay(SweepPause, time, cancellationToken).ConfigureAwait(false);
            }
        }

        return await TryRemoveAsync(directory).ConfigureAwait(false);
    }

    /// <summary>Removes a directory with a layer that nobody sees. It takes moments, and what is half removed is nobody's: it cannot be cancelled.</summary>
    /// <returns>How many bytes of the disk that gave back; null when it cannot be removed, which is logged.</returns>
    private async Task<long?> TryRemoveAsync(string directory)
    {
        try
        {
            return await _unpacker.RemoveAsync(directory, sparks.Mapping, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException)
        {
            RunnerLog.NotRemoved(logger, cache.Named(directory), ex);
            return null;
        }
    }

    private IEnumerable<string> Flattened() => Directory.EnumerateDirectories(Path.Combine(cache.Store, "flat")).Select(d => Path.GetFileName(d)!);

    private Dictionary<string, long> SizesOf(IEnumerable<string> ids) => ids.ToDictionary(id => id, id => Read(id)?.Bytes ?? 0);

    private static string NameOf(Digest digest) => digest.Algorithm == "sha256" ? digest.Hex : $"{digest.Algorithm}-{digest.Hex}";

    private static string ChainNameOf(IReadOnlyList<Digest> diffIds, int index)
    {
        Digest chain = diffIds[0];
        for (int i = 1; i <= index; i++)
            chain = Digest.FromHash("sha256", SHA256.HashData(Encoding.ASCII.GetBytes($"{chain} {diffIds[i]}")));
        return $"chain-{chain.Hex}";
    }

    private static bool IsName(string name) => IsFlattened(name) ? IsLayerName(name[..name.IndexOf(FlattenedSuffix, StringComparison.Ordinal)]) : IsLayerName(name);

    private static bool IsLayerName(string name) =>
        Digest.TryParse(name.StartsWith("sha512-", StringComparison.Ordinal) ? $"sha512:{name[7..]}" : $"sha256:{(name.StartsWith("chain-", StringComparison.Ordinal) ? name[6..] : name)}", out _);

    /// <summary>A layer that can be used: one of another mapping's higher ids is unpacked anew.</summary>
    private StoredLayer? Find(string id) => Read(id) is { } record && record.IsOf(sparks.Mapping) ? new StoredLayer(id, record) : null;

    private LayerRecord? Read(string id)
    {
        try
        {
            // What was not known to be on disk when the machine went down may lack files, or have empty ones.
            return LayerRecord.FromJson(File.ReadAllBytes(RecordOf(DirectoryOf(id)))) is { } record && (record.Boot is null || record.Boot == LayerFlusher.Boot) ? record : null;
        }
        catch (Exception ex) when (ex is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private static string RecordOf(string directory) => Path.Combine(directory, RecordName);

    private string LockOf(string id) => Path.Combine(cache.Locks, id);

    private string DirectoryOf(string id) => Path.Combine(cache.Store, StoredLayer.PathOf(id));

    /// <summary>Pulls a layer that perhaps others of this process want as well: they share the one pull, and when whoever began it
    /// gives up another begins anew. What it proves and why it fails is another's matter where their images differ: a DiffID is only claimed, and credentials are each caller's own.</summary>
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
                if (pull == mine || layer.Record.Blobs.Contains(source.Blob.Digest.ToString()))
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
        using FileStream held = await FileLock.TakeAsync(LockOf(id), time, () => pull.Observe(LockOf(id), ref told), cancellationToken).ConfigureAwait(false);
        pull.Begin(held);
        try
        {
            return await PullHeldAsync(source, id, below, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            pull.End();
        }
    }

    private async Task<StoredLayer> PullHeldAsync(LayerSource source, string id, string[]? below, CancellationToken cancellationToken)
    {
        if (Find(id) is { } another)
            return await ProveAsync(source, another, cancellationToken).ConfigureAwait(false);

        string incoming = cache.NewIncoming();
        try
        {
            SparkUnpacked unpacked = await _unpacker.UnpackAsync(source, incoming, cache.StoreFromIncoming, below, cancellationToken).ConfigureAwait(false);
            LayerRecord record = new LayerRecord
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
                Boot = LayerFlusher.Boot,
            }.WithIds(Math.Max(unpacked.HighestUid, source.IdsBelow.Uid), Math.Max(unpacked.HighestGid, source.IdsBelow.Gid), sparks.Mapping);
            return await PublishAsync(incoming, id, record, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            // Not with the caller's token: what was begun is cleared also when it was cancelled.
            await TryRemoveAsync(incoming).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Lets what was made appear under its name.</summary>
    private async Task<StoredLayer> PublishAsync(string incoming, string id, LayerRecord record, CancellationToken cancellationToken)
    {
        await File.WriteAllBytesAsync(RecordOf(incoming), record.ToJson(), cancellationToken).ConfigureAwait(false);
        if (record.Boot is null)
            Posix.SyncFileSystem(incoming);
        CacheDirectory.Seal(incoming);

        // What stands there has no record that can be read, another version's or damaged; or its higher ids are those
        // of another mapping.
        string? stale = Directory.Exists(DirectoryOf(id)) ? cache.NewIncomingPath() : null;
        if (stale is not null)
            Directory.Move(DirectoryOf(id), stale);
        Directory.Move(incoming, DirectoryOf(id));
        if (stale is not null)
        {
            CacheDirectory.Unseal(stale);
            await TryRemoveAsync(stale).ConfigureAwait(false);
        }

        return new StoredLayer(id, record);
    }

    /// <summary>Finds out that a blob is a layer that the cache has from another, by reading it.</summary>
    private async Task<StoredLayer> ProveAsync(LayerSource source, StoredLayer layer, CancellationToken cancellationToken)
    {
        string blob = source.Blob.Digest.ToString();
        if (layer.Record.Blobs.Contains(blob))
            return layer;
        await LayerUnpacker.VerifyAsync(source, cancellationToken).ConfigureAwait(false);
        StoredLayer proven = layer with { Record = layer.Record with { Blobs = [.. layer.Record.Blobs, blob] } };
        cache.Write(RecordOf(DirectoryOf(layer.Id)), proven.Record.ToJson());
        return proven;
    }

    private async Task MarkDurableAsync(string id)
    {
        using FileStream held = await FileLock.TakeAsync(LockOf(id), time, static () => { }, CancellationToken.None).ConfigureAwait(false);
        if (Find(id) is { Record.Boot: not null } layer)
            cache.Write(RecordOf(DirectoryOf(id)), (layer.Record with { Boot = null }).ToJson());
        else if (!Directory.Exists(DirectoryOf(id)))
            File.Delete(held.Name);
    }
}

/// <summary>Layers that were removed.</summary>
/// <param name="Count">How many; what was made of them does not count.</param>
/// <param name="Bytes">How many bytes of the disk that gave back.</param>
internal sealed record RemovedLayers(int Count, long Bytes);
