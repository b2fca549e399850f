namespace Xfn.Core.Runs;

/// <summary>Why a run ended.</summary>
internal enum RunEnd
{
    /// <summary>The function ended by itself.</summary>
    Exited,

    TimedOut,

    Cancelled,

    /// <summary>The function wrote more than is allowed.</summary>
    OutputExceeded,

    /// <summary>The kernel killed a process for want of memory and left others alive. A run ends as <see cref="Exited"/> then.</summary>
    OutOfMemory,

    /// <summary>The caller's stream for stdin threw.</summary>
    InputFailed,

    /// <summary>A caller's stream for stdout or stderr threw.</summary>
    OutputFailed,
}

/// <summary>What ends a run before, or behind, its function's own end: one reason, the first that counts; one token for all that the run does; one deadline.</summary>
internal sealed class RunStop(TimeProvider time) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _over = new();
    private TaskCompletionSource<RunEnd> _requested = NewRequest();
    private CancellationTokenRegistration _cancellation;
    private ITimer? _deadline;
    private bool _hasExited;

    /// <summary>Cancelled when nothing of the run is wanted any more.</summary>
    public CancellationToken Over => _over.Token;

    /// <summary>Ends with the first reason that counts.</summary>
    public Task<RunEnd> Requested
    {
        get
        {
            lock (_lock)
                return _requested.Task;
        }
    }

    /// <summary>Stops the run when its caller cancels it.</summary>
    public void When(CancellationToken cancellationToken) =>
        _cancellation = cancellationToken.UnsafeRegister(static stop => ((RunStop)stop!).Request(RunEnd.Cancelled), this);

    /// <summary>Stops the run at the end of a time.</summary>
    public void After(TimeSpan timeout) =>
        _deadline = time.CreateTimer(static stop => ((RunStop)stop!).Request(RunEnd.TimedOut), this, timeout, Timeout.InfiniteTimeSpan);

    /// <summary>Stops the run for a reason, when there was none before.</summary>
    public void Request(RunEnd reason)
    {
        lock (_lock)
        {
            if (!_hasExited || EndsTheTaking(reason))
                _requested.TrySetResult(reason);
        }
    }

    /// <summary>To be called when the function has ended by itself. From then on only that counts which ends the taking of what it wrote.</summary>
    public void HasExited()
    {
        lock (_lock)
        {
            _hasExited = true;
            if (_requested.Task.IsCompleted && !EndsTheTaking(_requested.Task.Result))
                _requested = NewRequest();
        }
    }

    /// <summary>Cancels all that the run still does.</summary>
    public Task EndAsync() => _over.CancelAsync();

    public void Dispose()
    {
        _cancellation.Dispose();
        _deadline?.Dispose();
        _over.Dispose();
    }

    private static bool EndsTheTaking(RunEnd reason) => reason is RunEnd.TimedOut or RunEnd.Cancelled or RunEnd.OutputFailed;

    private static TaskCompletionSource<RunEnd> NewRequest() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
