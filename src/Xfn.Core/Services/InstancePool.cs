using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>The instances of a service: started when they are wanted, replaced when they end, stopped when they are idle;
/// and the calls that wait for one.</summary>
internal sealed class InstancePool(IContainerHost host, ContainerRequest request, FunctionServiceOptions options) : IAsyncDisposable
{
    /// <summary>The time from a crash, or from a start that failed, to the next start. It doubles with each that
    /// follows.</summary>
    private static readonly TimeSpan FirstBackOff = TimeSpan.FromMilliseconds(100), LongestBackOff = TimeSpan.FromSeconds(30);

    /// <summary>How long an instance must have been up, so that the failures before it are forgotten.</summary>
    private static readonly TimeSpan Steady = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private readonly List<FunctionInstance> _up = [];
    private readonly LinkedList<TaskCompletionSource<FunctionInstance?>> _waiting = [];
    private readonly List<TaskCompletionSource<FunctionInstance?>> _ahead = [];
    private readonly CancellationTokenSource _disposal = new();
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly BackgroundTasks _work = new();
    private Task? _ended;
    private bool _isUsed;
    private int _starting;
    private int _calls;
    private int _failures;
    private long _failedAt;

    /// <summary>Whether it takes no calls any more.</summary>
    public bool IsDisposed => Volatile.Read(ref _ended) is not null;

    /// <summary>How many are up.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _up.Count(instance => instance.IsUp);
        }
    }

    /// <summary>Starts as many as shall be up without a call, or one, and waits until they are.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var started = new TaskCompletionSource<FunctionInstance?>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            ThrowIfDisposed();
            _ahead.Add(started);
            Serve();
        }

        await started.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Gives the instance that has the fewest calls, or waits for one.</summary>
    /// <exception cref="RunnerBusyException">Too many wait already.</exception>
    public async ValueTask<InstanceLease> TakeAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        LinkedListNode<TaskCompletionSource<FunctionInstance?>> waiting;
        lock (_lock)
        {
            ThrowIfDisposed();
            if (_waiting.Count == 0 && LeastBusy() is { } free)
                return new InstanceLease(this, Begin(free), cancellationToken);
            if (_waiting.Count >= options.MaxQueuedCalls)
            {
                throw new RunnerBusyException(
                    $"cannot take another call to containers of image '{request.Image}': {_calls} go on and {_waiting.Count} wait already. Try again later, or raise the limits (option MaxQueuedCalls, option MaxInstances).");
            }

            waiting = _waiting.AddLast(new TaskCompletionSource<FunctionInstance?>(TaskCreationOptions.RunContinuationsAsynchronously));
            Serve();
        }

        XfnTelemetry.CountServiceQueued(1);
        try
        {
            using CancellationTokenRegistration cancellation = cancellationToken.UnsafeRegister(_ => GiveUp(waiting, cancellationToken), null);
            return new InstanceLease(this, (await waiting.Value.Task.ConfigureAwait(false))!, cancellationToken);
        }
        finally
        {
            XfnTelemetry.CountServiceQueued(-1);
        }
    }

    /// <summary>A call has ended.</summary>
    public void Return(FunctionInstance instance)
    {
        XfnTelemetry.CountServiceCalls(-1);
        lock (_lock)
        {
            _calls--;
            if (--instance.Calls == 0)
                instance.Rest(options.IdleTime);
            if (_calls == 0 && IsDisposed)
                _drained.TrySetResult();
            Serve();
        }
    }

    /// <summary>Refuses further calls, gives those under way their time, and ends all.</summary>
    public async ValueTask DisposeAsync()
    {
        Task ended;
        lock (_lock)
        {
            if (_ended is null)
            {
                if (_calls == 0)
                    _drained.TrySetResult();
                Volatile.Write(ref _ended, Task.Run(EndAsync));
                var disposed = new ObjectDisposedException(nameof(FunctionService), "the service was disposed while the call waited");
                Refuse(_waiting, disposed);
                Refuse(_ahead, disposed);
            }

            ended = _ended;
        }

        await ended.ConfigureAwait(false);
    }

    private async Task EndAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _drained.Task.WaitAsync(options.DrainTime, options.TimeProvider).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        FunctionInstance[] left;
        lock (_lock)
        {
            left = [.. _up];
            _up.ForEach(instance => instance.IsStopping = true);
            _up.Clear();
        }

        await Task.WhenAll(left.Select(EndAsync)).ConfigureAwait(false);
        await _work.WaitAsync().ConfigureAwait(false);
        _disposal.Dispose();
    }

    private static async Task EndAsync(FunctionInstance instance)
    {
        XfnTelemetry.CountInstances(-1);
        await instance.DisposeAsync().ConfigureAwait(false);
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(IsDisposed, typeof(FunctionService));

    // What follows is called behind the lock, but for what is a task.

    /// <summary>Fails whoever waits.</summary>
    private static void Refuse(ICollection<TaskCompletionSource<FunctionInstance?>> waiting, Exception error)
    {
        foreach (TaskCompletionSource<FunctionInstance?> one in waiting)
        {
            one.TrySetException(error);

            // Who waited for a start ahead may have gone.
            _ = one.Task.Exception;
        }

        waiting.Clear();
    }

    private void GiveUp(LinkedListNode<TaskCompletionSource<FunctionInstance?>> waiting, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (waiting.List is null)
                return;
            _waiting.Remove(waiting);
            waiting.Value.TrySetCanceled(cancellationToken);
        }
    }

    /// <summary>The first of those with the fewest calls; null where all have as many as they take.</summary>
    private FunctionInstance? LeastBusy() => _up.Where(instance => instance.Calls < options.MaxConcurrency && instance.IsUp).MinBy(instance => instance.Calls);

    private FunctionInstance Begin(FunctionInstance instance)
    {
        XfnTelemetry.CountServiceCalls(1);
        _isUsed = true;
        _calls++;
        if (instance.Calls++ == 0)
            instance.Rest(null);
        return instance;
    }

    /// <summary>Hands instances to those who wait, and starts what is missing.</summary>
    private void Serve()
    {
        while (_waiting.First is { } first && LeastBusy() is { } free)
        {
            _waiting.RemoveFirst();
            first.Value.TrySetResult(Begin(free));
        }

        if (_up.Count >= AheadCount)
        {
            _isUsed |= _ahead.Count > 0;
            _ahead.ForEach(started => started.TrySetResult(null));
            _ahead.Clear();
        }

        while (!IsDisposed && _up.Count + _starting < WantedCount)
        {
            _starting++;
            _work.Add(StartApart());
        }
    }

    /// <summary>Starts one. That is the service's own, and no part of the call that wants it: spans tell.</summary>
    private Task StartApart()
    {
        if (ExecutionContext.IsFlowSuppressed())
            return Task.Run(StartOneAsync);
        using (ExecutionContext.SuppressFlow())
            return Task.Run(StartOneAsync);
    }

    private int AheadCount => Math.Max(options.MinInstances, 1);

    /// <summary>How many shall be up.</summary>
    private int WantedCount
    {
        get
        {
            // Those that are up have as many calls as they take, where others wait.
            int forCalls = _waiting.Count == 0 ? 0 : _up.Count + (_waiting.Count - 1) / options.MaxConcurrency + 1;
            int always = _ahead.Count > 0 ? AheadCount : _isUsed ? options.MinInstances : 0;
            return Math.Min(options.MaxInstances, Math.Max(forCalls, always));
        }
    }

    /// <summary>How long the next start has to wait.</summary>
    private TimeSpan BackOff
    {
        get
        {
            if (_failures == 0)
                return TimeSpan.Zero;
            TimeSpan wait = TimeSpan.FromSeconds(Math.Min(LongestBackOff.TotalSeconds, FirstBackOff.TotalSeconds * Math.Pow(2, _failures - 1)));
            TimeSpan waited = options.TimeProvider.GetElapsedTime(_failedAt);
            return waited < wait ? wait - waited : TimeSpan.Zero;
        }
    }

    /// <summary>An instance ended by itself, or could not be started. Several at a time count once.</summary>
    private void CountFailure()
    {
        if (BackOff > TimeSpan.Zero)
            return;
        _failures++;
        _failedAt = options.TimeProvider.GetTimestamp();
    }

    private async Task StartOneAsync()
    {
        bool isRestart = false;
        RunningContainer container;
        try
        {
            while (true)
            {
                TimeSpan wait;
                lock (_lock)
                {
                    // Whoever wanted it may have gone meanwhile.
                    if (IsDisposed || _up.Count + _starting > WantedCount)
                    {
                        _starting--;
                        return;
                    }

                    isRestart = _failures > 0;
                    wait = BackOff;
                }

                if (wait == TimeSpan.Zero)
                    break;
                await Task.Delay(wait, options.TimeProvider, _disposal.Token).ConfigureAwait(false);
            }

            container = await host.StartAsync(request, _disposal.Token).ConfigureAwait(false);
        }
        catch (Exception ex)
        {
            NotStarted(ex, isRestart);
            return;
        }

        XfnTelemetry.CountServiceStart(isRestart, null);
        var instance = new FunctionInstance(container, options.TimeProvider, StopIdle);
        XfnTelemetry.CountInstances(1);
        if (!TryAdd(instance))
            await EndAsync(instance).ConfigureAwait(false);
    }

    /// <summary>Tells those who wait, and goes on if it must.</summary>
    private void NotStarted(Exception error, bool isRestart)
    {
        lock (_lock)
        {
            _starting--;
            if (IsDisposed)
                return;
            XfnTelemetry.CountServiceStart(isRestart, error);
            CountFailure();
            FunctionServiceLog.NotStarted(options.Logger, request.Image, BackOff.TotalSeconds, error);
            Refuse(_ahead, error);

            // Where another is up or coming, calls have something to wait for.
            if (_starting == 0 && _up.Count == 0)
                Refuse(_waiting, error);
            Serve();
        }
    }

    /// <returns>Whether it is in use; else it is the caller's to end.</returns>
    private bool TryAdd(FunctionInstance instance)
    {
        lock (_lock)
        {
            _starting--;
            instance.IsStopping = IsDisposed;
            if (instance.IsStopping)
                return false;
            _up.Add(instance);
            instance.Rest(options.IdleTime);
            _work.Add(WatchAsync(instance));
            Serve();
            return true;
        }
    }

    /// <summary>Replaces an instance that ends by itself.</summary>
    private async Task WatchAsync(FunctionInstance instance)
    {
        ContainerExit exit = await instance.Container.Exited.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        bool hasCalls;
        lock (_lock)
        {
            if (instance.IsStopping)
                return;
            Forget(instance);
            CountFailure();
            hasCalls = instance.Calls > 0;
            FunctionServiceLog.Ended(options.Logger, request.Image, exit, instance.Calls, BackOff.TotalSeconds);
            Serve();
        }

        if (hasCalls)
            await Task.Delay(FunctionInstance.LastAnswers, options.TimeProvider, _disposal.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await EndAsync(instance).ConfigureAwait(false);
    }

    /// <summary>Stops one that nobody has called for a while.</summary>
    private void StopIdle(FunctionInstance instance)
    {
        lock (_lock)
        {
            if (IsDisposed || !instance.IsUp || instance.Calls > 0 || _up.Count <= (_isUsed ? options.MinInstances : 0))
                return;
            Forget(instance);
            FunctionServiceLog.StoppedIdle(options.Logger, request.Image);
            _work.Add(Task.Run(() => EndAsync(instance)));
        }
    }

    private void Forget(FunctionInstance instance)
    {
        instance.IsStopping = true;
        _up.Remove(instance);
        if (options.TimeProvider.GetElapsedTime(instance.StartedAt) >= Steady)
            _failures = 0;
    }
}
