namespace Xfn.Core.Runs;

/// <summary>Something made ahead of a run, for one.</summary>
internal interface IReady : IAsyncDisposable
{
    /// <summary>Whether it can still serve.</summary>
    bool IsAlive { get; }
}

/// <summary>Keeps things ready for runs to come. When no run comes for a while it ends those that wait.</summary>
internal sealed class ReadyPool<T> : IAsyncDisposable
    where T : class, IReady
{
    /// <summary>How many are made at a time. Most is waiting for the kernel; more take processors from runs.</summary>
    private const int MadeAtOnce = 2;

    private readonly Func<CancellationToken, Task<T>> _start;
    private readonly int _count;
    private readonly TimeSpan _idleTime;
    private readonly Lock _lock = new();
    private readonly List<Task<T>> _items = [];
    private readonly CancellationTokenSource _disposal = new();
    private readonly ITimer _idle;
    private Task _work = Task.CompletedTask;

    /// <param name="start">Makes one.</param>
    /// <param name="count">How many shall wait; 0 for none.</param>
    /// <param name="idleTime">For how long they wait.</param>
    /// <param name="time">The clock.</param>
    public ReadyPool(Func<CancellationToken, Task<T>> start, int count, TimeSpan idleTime, TimeProvider time)
    {
        (_start, _count, _idleTime) = (start, count, idleTime);
        _idle = time.CreateTimer(static s => ((ReadyPool<T>)s!).Clear(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public int Count
    {
        get
        {
            lock (_lock)
                return _items.Count(item => item.IsCompletedSuccessfully);
        }
    }

    /// <summary>Takes one that waits; null when none does.</summary>
    public T? TryTake()
    {
        lock (_lock)
        {
            while (_items.Find(item => item.IsCompleted) is { } item)
            {
                _items.Remove(item);
                if (item.IsCompletedSuccessfully && item.Result.IsAlive)
                    return item.Result;

                // One that was killed while it waited.
                End(item);
            }
        }

        return null;
    }

    /// <summary>Takes one that waits, or the first of those that are being made, or makes one.</summary>
    public async Task<T> TakeAsync(CancellationToken cancellationToken)
    {
        if (TryTake() is { } ready)
            return ready;
        Task<T>? coming;
        lock (_lock)
        {
            coming = _items.FirstOrDefault();
            if (coming is not null)
                _items.Remove(coming);
        }

        if (coming is not null)
        {
            await ((Task)coming).WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (coming.IsCompletedSuccessfully && coming.Result.IsAlive && !cancellationToken.IsCancellationRequested)
                return coming.Result;

            // What failed then fails again now, and is told.
            End(coming);
            cancellationToken.ThrowIfCancellationRequested();
        }

        return await _start(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Makes what is missing, in the background. Call it after a run, which it would slow down.</summary>
    public void Refill()
    {
        lock (_lock)
        {
            if (_count == 0 || _disposal.IsCancellationRequested)
                return;
            _idle.Change(_idleTime, Timeout.InfiniteTimeSpan);
            while (_items.Count < _count && _items.Count(item => !item.IsCompleted) < MadeAtOnce)
            {
                Task<T> item = Task.Run(() => _start(_disposal.Token));
                _items.Add(item);
                After(item.ContinueWith(Made, TaskScheduler.Default));
            }
        }
    }

    /// <summary>Makes what is missing.</summary>
    public async Task FillAsync(CancellationToken cancellationToken)
    {
        while (!_disposal.IsCancellationRequested && Count < _count)
        {
            T ready = await _start(cancellationToken).ConfigureAwait(false);
            if (!TryKeep(ready))
                await ready.DisposeAsync().ConfigureAwait(false);
        }

        _idle.Change(_idleTime, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Ends those that wait.</summary>
    public void Clear()
    {
        lock (_lock)
            EndAll();
    }

    public async ValueTask DisposeAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _idle.DisposeAsync().ConfigureAwait(false);
        Clear();
        await _work.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _disposal.Dispose();
    }

    /// <returns>Whether it waits now; not so after disposal, which has ended those that waited.</returns>
    private bool TryKeep(T ready)
    {
        lock (_lock)
        {
            if (_disposal.IsCancellationRequested)
                return false;
            _items.Add(Task.FromResult(ready));
            return true;
        }
    }

    /// <summary>Goes on with the next. After a failure it stops: a run that needs one learns why by itself.</summary>
    private void Made(Task<T> item)
    {
        if (item.IsCompletedSuccessfully)
        {
            Refill();
            return;
        }

        lock (_lock)
            _items.Remove(item);
    }

    private void EndAll()
    {
        _items.ForEach(End);
        _items.Clear();
    }

    private void End(Task<T> item)
    {
        lock (_lock)
            After(EndAsync(item));
    }

    private static async Task EndAsync(Task<T> item)
    {
        await ((Task)item).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        if (item.IsCompletedSuccessfully)
            await item.Result.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Has disposal wait for it.</summary>
    private void After(Task task) => _work = _work.IsCompleted ? task : Task.WhenAll(_work, task);
}
