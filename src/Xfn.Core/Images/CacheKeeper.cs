using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;

namespace Xfn.Core.Images;

/// <summary>Keeps the cache clear of what dead processes left, and its layers within a limit in bytes, if
/// any.</summary>
internal sealed class CacheKeeper(
    CachePruner pruner, CacheCatalog catalog, Sweeper sweeper, BackgroundTasks background, ILogger logger, CancellationToken cancellationToken)
{
    private readonly ConcurrentDictionary<Digest, byte> _pulled = new();

    // One at a time prunes, and uses it.
    private readonly HashSet<Digest> _toldOf = [];
    private int _pruning;

    /// <summary>How many bytes the layers may take; null for no limit. A server sets it before any run.</summary>
    public long? Limit { get; set; }

    /// <summary>Sweeps and prunes behind what has just pulled or flattened an image. The image itself stays, however
    /// large it is: who pulled it wants to run it, and would pull it each time.</summary>
    public void ClearBehind(Digest image)
    {
        background.Add(sweeper.SweepAsync());
        if (Limit is not { } bytes)
            return;
        _pulled[image] = 0;
        if (Interlocked.Exchange(ref _pruning, 1) != 0)
            return;
        background.Add(Task.Run(async () =>
        {
            do
            {
                await PruneToAsync(bytes).ConfigureAwait(false);

                // All of this is seen before what was pulled is looked at: an image that comes now finds nobody pruning.
                Interlocked.Exchange(ref _pruning, 0);
            }
            while (!_pulled.IsEmpty && Interlocked.Exchange(ref _pruning, 1) == 0);
        }));
    }

    private async Task PruneToAsync(long bytes)
    {
        HashSet<Digest> pulled = [.. _pulled.Keys];
        foreach (Digest image in pulled)
            _pulled.TryRemove(image, out _);
        try
        {
            if (!pruner.IsOver(bytes))
                return;
            PruneReport report = await pruner.PruneAsync(new PruneOptions { MaxBytes = bytes }, pulled, cancellationToken).ConfigureAwait(false);
            RunnerLog.CachePruned(logger, report.ImagesRemoved, report.LayersRemoved, report.BytesFreed);
            foreach ((string name, Digest digest, long taken) in catalog.LargerThan(bytes, pulled).Where(image => _toldOf.Add(image.Digest)))
                RunnerLog.ImageOverLimit(logger, name, digest, taken, bytes);
        }
        catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException or OperationCanceledException)
        {
            RunnerLog.CacheNotPruned(logger, ex);
        }
    }
}
