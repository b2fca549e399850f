using Microsoft.Extensions.Logging;
using Xfn.Core.Cache;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;

namespace Xfn.Core.Layers;

/// <summary>Has what was unpacked on disk, behind who pulled it: one call for the whole file system, since to wait for each of thousands of files takes a hundred times as long.</summary>
internal sealed class LayerFlusher(CacheDirectory cache, ILogger logger)
{
    private readonly BackgroundTasks _tasks = new();

    /// <summary>What this boot of the machine is called; null when the system does not say.</summary>
    public static string? Boot { get; } = ReadBoot();

    /// <summary>Sees to it that those of layers that are not marked so are on disk some time, and are marked by their
    /// names then.</summary>
    public void Begin(IEnumerable<StoredLayer> layers, Func<string, Task> mark)
    {
        string[] ids = [.. layers.Where(l => l.Record.Boot is not null).Select(l => l.Id)];
        if (ids.Length == 0)
            return;

        // For some seconds on a slow disk, and the call cannot be cancelled.
        _tasks.Add(Task.Factory.StartNew(() => FlushAsync(ids, mark), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap());
    }

    /// <summary>Waits until what was begun is on disk.</summary>
    public Task FinishAsync() => _tasks.WaitAsync();

    private async Task FlushAsync(string[] ids, Func<string, Task> mark)
    {
        try
        {
            Posix.SyncFileSystem(cache.Store);
            foreach (string id in ids)
                await mark(id).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            RunnerLog.NotSynced(logger, cache.Name, ex);
        }
    }

    private static string? ReadBoot()
    {
        try
        {
            return File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim() is { Length: > 0 } boot ? boot : null;
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
