using Microsoft.Extensions.Logging;
using Xfn.Core.Cache;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Layers;

/// <summary>Unpacked layers, each in a directory of its own that appears when, and only when, it is whole.</summary>
/// <remarks>A layer is kept under its DiffID. One that needs those below it (it links to their files, or lacks entries
/// for their directories) can mean different things above different layers, and is kept under its ChainID.</remarks>
internal sealed class LayerStore(CacheDirectory cache, SparkLauncher sparks, TimeProvider time, ILogger logger)
{
    private const string RecordName = "layer.json";
    private const int SweepAttempts = 5;

    private static readonly TimeSpan SweepPause = TimeSpan.FromMilliseconds(200);

    // What this boot of the machine is called; null when the system does not say.
    private static readonly string? Boot = new SystemFiles().ReadText("/proc/sys/kernel/random/boot_id")?.Trim() is { Length: > 0 } boot ? boot : null;

    private readonly string _layers = Path.Combine(cache.Store, "layers");
    private readonly BackgroundTasks _flushes = new();

    /// <summary>When a layer last came or went.</summary>
    public DateTime LastChange => Directory.GetLastWriteTimeUtc(_layers);

    /// <summary>A layer of an image, if the cache has it and the image's blob is known to be it: a DiffID is only
    /// claimed, and one who claims another's must not get its files.</summary>
    public StoredLayer? Find(IReadOnlyList<Descriptor> blobs, IReadOnlyList<Digest> diffIds, int index) =>
        (Find(LayerNames.Of(diffIds[index])) is { } own && own.IsKnownAbove(diffIds, index) ? own : Find(LayerNames.OfChain(diffIds, index))) is { } layer
        && layer.IsOf(blobs[index]) ? layer : null;

    /// <summary>What has a name, if it can be used: a layer of another mapping's higher ids is unpacked anew.</summary>
    public StoredLayer? Find(string id) => Read(id) is { } record && record.IsOf(sparks.Mapping) ? new StoredLayer(id, record) : null;

    /// <summary>Whether a layer that was found still is there: another process may have pruned the cache.</summary>
    public bool Exists(StoredLayer layer) => Directory.Exists(DirectoryOf(layer.Id));

    /// <summary>The layers of the cache, and what was made of them, with the bytes that they take.</summary>
    public IReadOnlyDictionary<string, long> List() => SizesOf(Names("layers").Concat(Names("flat")));

    public IReadOnlyDictionary<string, long> ListOf(IReadOnlyList<Digest> diffIds)
    {
        HashSet<string> names = [.. LayerNames.AllOf(diffIds)];
        return SizesOf(names.Where(name => !LayerNames.IsFlattened(name) && Directory.Exists(DirectoryOf(name))).Concat(Names("flat").Where(id => names.Contains(LayerNames.BaseOf(id)))));
    }

    /// <summary>The file that is locked by who makes or removes what has a name.</summary>
    public string LockOf(string id) => Path.Combine(cache.Locks, id);

    /// <inheritdoc cref="FileLock.TakeAsync"/>
    public Task<FileStream> LockAsync(string id, Action? onHeld, CancellationToken cancellationToken) => FileLock.TakeAsync(LockOf(id), time, onHeld, cancellationToken);

    /// <summary>Gives what has a name, after making it where it is not there. One process does so at a time.</summary>
    public async Task<StoredLayer> MakeAsync(string id, Func<string, Task<LayerRecord>> make, CancellationToken cancellationToken)
    {
        if (Find(id) is { } found)
            return found;
        using FileStream held = await LockAsync(id, null, cancellationToken).ConfigureAwait(false);
        if (Find(id) is { } another)
            return another;
        StoredLayer made = await MakeLockedAsync(id, make).ConfigureAwait(false);
        Flush([made]);
        return made;
    }

    /// <summary>Makes <c>fs</c> in a directory that is to have a name, whose lock the caller has.</summary>
    public async Task<StoredLayer> MakeLockedAsync(string id, Func<string, Task<LayerRecord>> make)
    {
        string incoming = cache.NewIncoming();
        try
        {
            LayerRecord record = await make(incoming).ConfigureAwait(false) with { Boot = Boot };
            await PublishAsync(incoming, id, record).ConfigureAwait(false);
            return new StoredLayer(id, record);
        }
        catch
        {
            await TryRemoveAsync(incoming).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Keeps what is known of a layer by now; the caller has its lock.</summary>
    public StoredLayer Update(string id, LayerRecord record)
    {
        cache.Write(RecordOf(DirectoryOf(id)), record.ToJson());
        return new StoredLayer(id, record);
    }

    /// <summary>Has layers on disk some time, and marks them so then: by one call for the whole file system, since to
    /// wait for each of thousands of files takes a hundred times as long.</summary>
    public void Flush(IEnumerable<StoredLayer> layers)
    {
        string[] ids = [.. layers.Where(l => l.Record.Boot is not null).Select(l => l.Id)];

        // For some seconds on a slow disk, and the call cannot be cancelled.
        if (ids.Length > 0)
            _flushes.Add(Task.Factory.StartNew(() => FlushAsync(ids), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap());
    }

    /// <summary>Waits until what was pulled is on disk.</summary>
    public Task FinishAsync() => _flushes.WaitAsync();

    /// <summary>Removes layers that no image wants.</summary>
    /// <param name="ids">The layers.</param>
    /// <param name="wanted">Returns those of all layers that images want by now. It is called when the layers are out
    /// of sight: who wanted one before that is found so, and who wants one later finds it missing.</param>
    /// <param name="cancellationToken">Ends the removal; what is out of sight by then is removed all the same.</param>
    public async Task<RemovedLayers> RemoveAsync(IEnumerable<string> ids, Func<IReadOnlySet<string>> wanted, CancellationToken cancellationToken)
    {
        var taken = new List<(string Id, string Directory, FileStream Held)>();
        var removed = new HashSet<string>();
        long bytes = 0;
        try
        {
            foreach (string id in ids.TakeWhile(_ => !cancellationToken.IsCancellationRequested))
            {
                // Who pulls it, or removes it, has the lock.
                if (FileLock.Try(LockOf(id)) is not { } held)
                    continue;
                taken.Add((id, cache.NewIncomingPath(), held));
                if (Directory.Exists(DirectoryOf(id)))
                    Directory.Move(DirectoryOf(id), taken[^1].Directory);
            }

            IReadOnlySet<string> still = taken.Count == 0 ? new HashSet<string>() : wanted();
            foreach ((string id, string directory, FileStream _) in taken.Where(t => Directory.Exists(t.Directory)))
            {
                if (still.Contains(LayerNames.BaseOf(id)))
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
            if (await TryRemoveAsync(directory).ConfigureAwait(false) is { } freed)
                bytes += freed;
            else
                removed.Remove(id);
        }

        cancellationToken.ThrowIfCancellationRequested();
        return new RemovedLayers(removed.Count(id => !LayerNames.IsFlattened(id)), bytes);
    }

    /// <summary>Removes the lock files of layers that are not in the cache.</summary>
    public void RemoveLocks()
    {
        foreach (string path in Directory.EnumerateFiles(cache.Locks).Where(p => LayerNames.IsName(Path.GetFileName(p)) && !IsThere(p)))
        {
            using FileStream? held = FileLock.Try(path);
            if (held is not null && !IsThere(path))
                File.Delete(path);
        }

        bool IsThere(string path) => Directory.Exists(DirectoryOf(Path.GetFileName(path)));
    }

    /// <summary>Clears what processes that have ended left behind.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public Task<long> SweepAsync(CancellationToken cancellationToken) => cache.SweepAsync(directory => SweepAsync(directory, cancellationToken));

    /// <summary>Removes what this process could not remove before. Call it when nothing is unpacked any more.</summary>
    public async Task ClearAsync()
    {
        foreach (string directory in cache.ListIncoming())
            await TryRemoveAsync(directory).ConfigureAwait(false);
    }

    /// <summary>A spark whose runner was killed ends soon, and may write its last while this goes on.</summary>
    private async Task<long?> SweepAsync(string directory, CancellationToken cancellationToken)
    {
        for (int attempt = 1; attempt < SweepAttempts; attempt++)
        {
            try
            {
                return await sparks.RemoveAsync(directory, sparks.Mapping, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException)
            {
                await Task.Delay(SweepPause, time, cancellationToken).ConfigureAwait(false);
            }
        }

        return await TryRemoveAsync(directory).ConfigureAwait(false);
    }

    /// <summary>Removes a layer's unseen directory, or a volume's. Not cancellable: it is short, and half of one is no use.</summary>
    /// <returns>How many bytes of the disk that gave back; null when it cannot be removed, which is logged.</returns>
    public async Task<long?> TryRemoveAsync(string directory)
    {
        try
        {
            return await sparks.RemoveAsync(directory, sparks.Mapping, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException)
        {
            RunnerLog.NotRemoved(logger, cache.Named(directory), ex);
            return null;
        }
    }

    /// <summary>Lets what was made appear under its name.</summary>
    private async Task PublishAsync(string incoming, string id, LayerRecord record)
    {
        await File.WriteAllBytesAsync(RecordOf(incoming), record.ToJson()).ConfigureAwait(false);
        if (record.Boot is null)
            Posix.SyncFileSystem(incoming);
        CacheDirectory.Seal(incoming);

        // What stands there has no readable record (another version's, or damaged), or higher ids of another mapping.
        string? stale = Directory.Exists(DirectoryOf(id)) ? cache.NewIncomingPath() : null;
        if (stale is not null)
            Directory.Move(DirectoryOf(id), stale);
        Directory.Move(incoming, DirectoryOf(id));
        if (stale is not null)
        {
            await TryRemoveAsync(stale).ConfigureAwait(false);
        }
    }

    private async Task FlushAsync(string[] ids)
    {
        try
        {
            Posix.SyncFileSystem(cache.Store);
            foreach (string id in ids)
            {
                using FileStream held = await LockAsync(id, null, CancellationToken.None).ConfigureAwait(false);
                if (Find(id) is { Record.Boot: not null } layer)
                    Update(id, layer.Record with { Boot = null });
                else if (!Directory.Exists(DirectoryOf(id)))
                    File.Delete(held.Name);
            }
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            RunnerLog.NotSynced(logger, cache.Name, ex);
        }
    }

    private LayerRecord? Read(string id)
    {
        try
        {
            // What was not known to be on disk when the machine went down may lack files, or have empty ones.
            return LayerRecord.FromJson(File.ReadAllBytes(RecordOf(DirectoryOf(id)))) is { } record && (record.Boot is null || record.Boot == Boot) ? record : null;
        }
        catch (Exception ex) when (ex is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private IEnumerable<string> Names(string part) => Directory.EnumerateDirectories(Path.Combine(cache.Store, part)).Select(d => Path.GetFileName(d)!);

    private Dictionary<string, long> SizesOf(IEnumerable<string> ids) => ids.ToDictionary(id => id, id => Read(id)?.Bytes ?? 0);

    private static string RecordOf(string directory) => Path.Combine(directory, RecordName);

    private string DirectoryOf(string id) => Path.Combine(cache.Store, StoredLayer.PathOf(id));
}

/// <summary>How many layers were removed, without what was made of them, and how many bytes of the disk that gave
/// back.</summary>
internal sealed record RemovedLayers(int Count, long Bytes);
