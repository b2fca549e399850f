namespace Xfn.Core.Runs;

/// <summary>Sparks made ahead of their runs, each for one. A namespace takes milliseconds to make, and so may a move into a cgroup; neither depends on what will run.</summary>
/// <remarks>The first run finds none and asks for none: a program that runs one function should not pay for a second. When no run comes for a while those that wait are ended.</remarks>
internal sealed class ReadySparks : IAsyncDisposable
{
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(30);

    private readonly Func<CancellationToken, Task<RunSpark>> _start;
    private readonly int _count;
    private readonly Lock _lock = new();
    private readonly Queue<RunSpark> _ready = new();
    private readonly CancellationTokenSource _disposal = new();
    private readonly ITimer _idle;
    private Task _work = Task.CompletedTask;
    private bool _secondRun;

    /// <param name="start">Makes one.</param>
    /// <param name="count">How many shall wait; 0 for none.</param>
    /// <param name="time">The clock.</param>
    public ReadySparks(Func<CancellationToken, Task<RunSpark>> start, int count, TimeProvider time)
    {
        (_start, _count) = (start, count);
        _idle = time.CreateTimer(static s => ((ReadySparks)s!).EndIdle(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Takes one that waits, or makes one.</summary>
    public Task<RunSpark> TakeAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            while (_ready.TryDequeue(out RunSpark? spark))
            {
                // One that was killed while it waited is cleared away by the next refill.
                if (!spark.Process.Ended.IsCompleted)
                    return Task.FromResult(spark);
                Chain(() => spark.DisposeAsync().AsTask());
            }
        }

        return _start(cancellationToken);
    }

    /// <summary>Makes what is missing. To be called when a run is over, so that it is not slowed down by the next one's preparation.</summary>
    public void Refill()
    {
        lock (_lock)
        {
            bool first = !_secondRun;
            _secondRun = true;
            if (first || _count == 0 || _disposal.IsCancellationRequested)
                return;
            _idle.Change(IdleTime, Timeout.InfiniteTimeSpan);
            if (_work.IsCompleted)
                Chain(FillAsync);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _idle.DisposeAsync().ConfigureAwait(false);
        EndIdle();
        await _work.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _disposal.Dispose();
    }

    private async Task FillAsync()
    {
        while (!_disposal.IsCancellationRequested)
        {
            lock (_lock)
            {
                if (_ready.Count >= _count)
                    return;
            }

            RunSpark spark = await _start(_disposal.Token).ConfigureAwait(false);
            if (!TryKeep(spark))
                await spark.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <returns>Whether it waits now; not so after disposal, which has ended those that waited.</returns>
    private bool TryKeep(RunSpark spark)
    {
        lock (_lock)
        {
            if (_disposal.IsCancellationRequested)
                return false;
            _ready.Enqueue(spark);
            return true;
        }
    }

    private void EndIdle()
    {
        lock (_lock)
        {
            RunSpark[] idle = [.. _ready];
            _ready.Clear();
            foreach (RunSpark spark in idle)
                Chain(() => spark.DisposeAsync().AsTask());
        }
    }

    /// <summary>Does something behind what is being done. What fails here fails again, and is told, when a run makes a spark of its own.</summary>
    private void Chain(Func<Task> next) => _work = _work.ContinueWith(_ => next(), TaskScheduler.Default).Unwrap();
}
