namespace Xfn.Core.Runs;

/// <summary>Something made ahead of a run, for one.</summary>
internal interface IReady : IAsyncDisposable
{
    /// <summary>Whether it can still serve.</summary>
    bool IsAlive { get; }
}

/// <summary>Keeps a number of things ready for the runs to come. When no run comes for a while those that wait are ended.</summary>
internal sealed class ReadyPool<T> : IAsyncDisposable
    where T : class, IReady
{
    private readonly Func<CancellationToken, Task<T>> _start;
    private readonly int _count;
    private readonly TimeSpan _idleTime;
    private readonly Lock _lock = new();
    private readonly Queue<T> _ready = new();
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

    /// <summary>How many wait.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _ready.Count;
        }
    }

    /// <summary>Takes one that waits; null when none does.</summary>
    public T? TryTake()
    {
        lock (_lock)
        {
            while (_ready.TryDequeue(out T? ready))
            {
                // One that was killed while it waited is cleared away by the next refill.
                if (ready.IsAlive)
                    return ready;
                Chain(() => ready.DisposeAsync().AsTask());
            }
        }

        return null;
    }

    /// <summary>Takes one that waits, or makes one.</summary>
    public Task<T> TakeAsync(CancellationToken cancellationToken) => TryTake() is { } ready ? Task.FromResult(ready) : _start(cancellationToken);

    /// <summary>Makes what is missing, behind the caller's back. To be called when a run is over, so that it is not slowed down by the next one's preparation.</summary>
    public void Refill()
    {
        lock (_lock)
        {
            if (_count == 0 || _disposal.IsCancellationRequested)
                return;
            _idle.Change(_idleTime, Timeout.InfiniteTimeSpan);
            if (_work.IsCompleted)
                Chain(() => FillAsync(_disposal.Token));
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
        {
            T[] idle = [.. _ready];
            _ready.Clear();
            foreach (T ready in idle)
                Chain(() => ready.DisposeAsync().AsTask());
        }
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
            _ready.Enqueue(ready);
            return true;
        }
    }

    /// <summary>Does something behind what is being done. What fails here fails again, and is told, when a run makes one of its own.</summary>
    private void Chain(Func<Task> next) => _work = _work.ContinueWith(_ => next(), TaskScheduler.Default).Unwrap();
}
