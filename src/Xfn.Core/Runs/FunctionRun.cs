using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Pipes;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>A container as the run in it sees it.</summary>
internal interface ISandbox
{
    /// <summary>The runner's ends of the function's pipes.</summary>
    Stdio Stdio { get; }

    /// <exception cref="XfnException">It was killed with the spark around it.</exception>
    Task<SparkExited> WaitAsync();

    /// <exception cref="IOException">There is nobody any more to send it.</exception>
    Task SignalAsync(int signal, CancellationToken cancellationToken);

    void Kill();

    /// <inheritdoc cref="Cgroup.WatchOutOfMemoryAsync"/>
    Task<bool> WatchOutOfMemoryAsync(CancellationToken cancellationToken);

    CgroupUsage ReadUsage();
}

/// <summary>A function in a container, from its start to its end: three pumps, and one reason to stop.</summary>
internal sealed class FunctionRun(ISandbox sandbox, RunStreams streams, TimeProvider time)
{
    /// <summary>How long a function that ran out of time may take to end in good order.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(250);

    /// <summary>How long a killed function may take to be gone: gigabytes are not freed at once. The spark is asked to
    /// kill before it is killed, since only it knows what was used.</summary>
    private static readonly TimeSpan KillPatience = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a caller's streams may take after the run: to empty pipes, then to heed their token.</summary>
    private static readonly TimeSpan StreamPatience = TimeSpan.FromMilliseconds(500);

    /// <summary>The signal that asks a function that ran out of time to end.</summary>
    public int StopSignal { get; init; } = Posix.SigTerm;

    /// <summary>When the container was started; default before.</summary>
    public long StartedAt { get; private set; }

    /// <param name="start">Has the container start the function.</param>
    /// <param name="timeout">How long, from the container's start until all that it wrote has been taken.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>How the run ended; what the function wrote has been passed on when it ended by itself.</returns>
    public async Task<RunOutcome> ExecuteAsync(Func<CancellationToken, Task> start, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var stop = new RunStop(time);

        // What starts the function goes first: all the rest can be done while the kernel executes it.
        Task input = streams.IsBuffered ? Feed(stop) : Task.CompletedTask;
        long released = time.GetTimestamp();
        Task started = start(cancellationToken);

        // What is started at once may have ended before this thread goes on.
        bool isReleased = started.IsCompleted;
        stop.When(cancellationToken);
        using OutputReader stdout = Read(sandbox.Stdio.Stdout, streams.Stdout, stop);
        using OutputReader stderr = Read(sandbox.Stdio.Stderr, streams.Stderr, stop);
        Task taken = Task.CompletedTask;
        try
        {
            await started.ConfigureAwait(false);
            StartedAt = isReleased ? released : time.GetTimestamp();
            if (!streams.IsBuffered)
                input = Feed(stop);

            _ = StopWhenOutOfMemoryAsync(stop);
            stop.After(timeout);
            Task<SparkExited> exit = sandbox.WaitAsync();
            bool exited = await Task.WhenAny(exit, stop.Requested).ConfigureAwait(false) == exit;
            if (exited)
                stop.HasExited();
            else
                await EndAsync(await stop.Requested.ConfigureAwait(false), exit, stop).ConfigureAwait(false);

            taken = Task.WhenAll(stdout.FinishAsync(), stderr.FinishAsync());
            if (!exited)
            {
                await Quietly(taken.WaitAsync(StreamPatience, time, CancellationToken.None)).ConfigureAwait(false);
                return await StoppedAsync(await stop.Requested.ConfigureAwait(false), exit, input, stdout.Completion, stderr.Completion).ConfigureAwait(false);
            }

            // What it wrote is wanted, however slowly the caller's streams take it. Memory takes it at once.
            if (!streams.IsBuffered && await Task.WhenAny(taken, stop.Requested).ConfigureAwait(false) != taken)
                return await StoppedAsync(await stop.Requested.ConfigureAwait(false), exit, stdout.Completion, stderr.Completion).ConfigureAwait(false) with { IsUntaken = true };
            await taken.ConfigureAwait(false);
            return await ExitedAsync(exit).ConfigureAwait(false);
        }
        finally
        {
            await stop.EndAsync().ConfigureAwait(false);

            // A caller's stream that does not heed its token, as a terminal's, would hold up the answer without end.
            Task all = Task.WhenAll(Quietly(stdout.Completion), Quietly(stderr.Completion), Quietly(taken), Quietly(input));
            await Quietly(all.WaitAsync(StreamPatience, time, CancellationToken.None)).ConfigureAwait(false);
        }
    }

    private static SparkExited KilledWithSpark => new(128 + Posix.SigKill, Posix.SigKill, 0, 0);

    /// <summary>Awaits what has its say elsewhere.</summary>
    private static async Task Quietly(Task task) => await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    /// <summary>The function ended by itself, and all that it wrote was taken.</summary>
    private async Task<RunOutcome> ExitedAsync(Task<SparkExited> exit)
    {
        CgroupUsage usage = sandbox.ReadUsage();

        // On version 2 the kernel kills the whole cgroup for want of memory, the spark and its answer included.
        SparkExited exited = exit.IsFaulted && usage.OutOfMemoryKills > 0 ? KilledWithSpark : await exit.ConfigureAwait(false);

        // What came last may have been the one byte too many.
        return new RunOutcome(streams.Stdout.IsExceeded || streams.Stderr.IsExceeded ? RunEnd.OutputExceeded : RunEnd.Exited, exited, usage);
    }

    /// <summary>The run was stopped, or the taking of what its function wrote.</summary>
    private async Task<RunOutcome> StoppedAsync(RunEnd reason, Task<SparkExited> exit, params IReadOnlyList<Task> pumps)
    {
        // Others may still wait for a caller's stream.
        if (reason is RunEnd.InputFailed or RunEnd.OutputFailed)
            await pumps.First(pump => pump.IsFaulted).ConfigureAwait(false);
        SparkExited? exited = exit.IsCompletedSuccessfully ? await exit.ConfigureAwait(false) : null;
        return reason == RunEnd.OutOfMemory
            ? new RunOutcome(RunEnd.Exited, exited ?? KilledWithSpark, sandbox.ReadUsage())
            : new RunOutcome(reason, exited, sandbox.ReadUsage());
    }

    private Task Feed(RunStop stop)
    {
        // A caller's stream may block the thread that reads it.
        Task input = streams.IsBuffered
            ? streams.Input(sandbox.Stdio.Stdin, stop.Over)
            : Task.Run(() => streams.Input(sandbox.Stdio.Stdin, stop.Over), CancellationToken.None);
        WhenOver(input, () =>
        {
            if (input.IsFaulted)
                stop.Request(RunEnd.InputFailed);
        });
        return input;
    }

    private OutputReader Read(Stream pipe, IOutputSink sink, RunStop stop)
    {
        var reader = new OutputReader(pipe, sink, !streams.IsBuffered, stop.Over);
        WhenOver(reader.Completion, () =>
        {
            if (reader.Completion.IsFaulted)
                stop.Request(RunEnd.OutputFailed);
            else if (sink.IsExceeded)
                stop.Request(RunEnd.OutputExceeded);
        });
        return reader;
    }

    private static void WhenOver(Task pump, Action then) =>
        pump.ContinueWith(static (_, then) => ((Action)then!)(), then, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    private async Task StopWhenOutOfMemoryAsync(RunStop stop)
    {
        try
        {
            if (await sandbox.WatchOutOfMemoryAsync(stop.Over).ConfigureAwait(false))
                stop.Request(RunEnd.OutOfMemory);
        }
        catch (Exception ex) when (ex is OperationCanceledException or XfnException)
        {
            // The run is over; or the cgroup's limits do not hold any more, which is found, and told, at the run's end.
        }
    }

    private async Task EndAsync(RunEnd reason, Task exit, RunStop stop)
    {
        if (reason == RunEnd.TimedOut)
            await SignalAsync(StopSignal, exit, Grace, stop).ConfigureAwait(false);
        if (!exit.IsCompleted)
            await SignalAsync(Posix.SigKill, exit, KillPatience, stop).ConfigureAwait(false);
        sandbox.Kill();
        await Quietly(exit).ConfigureAwait(false);
    }

    private async Task SignalAsync(int signal, Task exit, TimeSpan patience, RunStop stop)
    {
        try
        {
            await sandbox.SignalAsync(signal, stop.Over).ConfigureAwait(false);
        }
        catch (IOException)
        {
            // It just ended by itself.
        }

        // It may not end on request, or be told as one that never executed its function: it was killed first.
        await exit.WaitAsync(patience, time, stop.Over).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}

/// <summary>How a run ended.</summary>
/// <param name="Reason">Why.</param>
/// <param name="Exited">How the container ended; null when the spark had to be killed with it.</param>
/// <param name="Usage">What its cgroup counted.</param>
internal sealed record RunOutcome(RunEnd Reason, SparkExited? Exited, CgroupUsage Usage)
{
    /// <summary>Whether the function had ended by itself, and what it wrote had not been taken yet.</summary>
    public bool IsUntaken { get; init; }

    /// <summary>The cgroup's, of every process; else of the first and those it waited for; null if unknown.</summary>
    public TimeSpan? CpuTime => Usage.CpuTime ?? (IsCounted ? TimeSpan.FromMicroseconds(Exited!.CpuMicroseconds) : null);

    /// <summary>Likewise.</summary>
    public long? PeakMemoryBytes => Usage.PeakMemoryBytes ?? (IsCounted ? Exited!.PeakMemoryBytes : null);

    /// <summary>No process has ever had no memory.</summary>
    private bool IsCounted => Exited is { PeakMemoryBytes: > 0 };
}

internal enum RunEnd
{
    Exited,
    TimedOut,
    Cancelled,
    OutputExceeded,

    /// <summary>The kernel killed one process for want of memory, not all. Told as <see cref="Exited"/>.</summary>
    OutOfMemory,

    InputFailed,
    OutputFailed,
}

/// <summary>Ends runs before or after their function: the first reason that counts, one token, one deadline.</summary>
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

    /// <summary>Notes that the function has ended by itself: only reasons to stop taking output count now.</summary>
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
