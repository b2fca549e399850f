using System.Collections.Concurrent;

namespace Xfn.Core.Interop;

/// <summary>What goes on behind its caller's back, and is waited for at the end.</summary>
internal sealed class BackgroundTasks
{
    private readonly ConcurrentDictionary<Task, byte> _tasks = new();

    public TTask Add<TTask>(TTask task)
        where TTask : Task
    {
        _tasks.TryAdd(task, 0);
        task.ContinueWith(static (t, s) => ((ConcurrentDictionary<Task, byte>)s!).TryRemove(t, out _), _tasks, TaskScheduler.Default);
        return task;
    }

    /// <summary>Ends when they have, whatever came of them.</summary>
    public async Task WaitAsync() => await Task.WhenAll(_tasks.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}
