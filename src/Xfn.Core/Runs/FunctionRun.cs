using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Pipes;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>What a run reads and writes.</summary>
/// <param name="Input">Feeds stdin and closes it.</param>
/// <param name="Stdout">Takes stdout.</param>
/// <param name="Stderr">Takes stderr.</param>
internal sealed record RunStreams(Func<Stream, CancellationToken, Task> Input, IOutputSink Stdout, TailSink Stderr)
{
    /// <summary>Whether the input is in memory: stdin is fed before the function is there to read it then. A stream is not touched before, so that a run whose
    /// container did not start can be begun again.</summary>
    public bool IsBuffered { get; init; }
}

/// <summary>One function running in one spark, from the start of its container to its end.</summary>
internal sealed class FunctionRun : IDisposable
{
    /// <summary>How long a function that ran out of time may take to end in good order.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(250);

    /// <summary>How long one that is killed may take to be gone: gigabytes are not freed in an instant. Only the spark knows what it has used, so it is asked to kill before it is killed.</summary>
    private static readonly TimeSpan KillPatience = TimeSpan.FromMilliseconds(500);

    /// <summary>How long the caller's streams are waited for when the run is over: to take what lies in the pipes, and then to heed their token.</summary>
    private static readonly TimeSpan StreamPatience = TimeSpan.FromMilliseconds(500);

    private readonly RunSpark _spark;
    private readonly RunStreams _streams;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _end = new();
    private readonly TaskCompletionSource<RunEnd> _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Ends the wait for the caller's streams when the function has ended by itself; not all that stops a function does.
    private readonly TaskCompletionSource<RunEnd> _givenUp = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public FunctionRun(RunSpark spark, RunStreams streams, TimeProvider time) => (_spark, _streams, _time) = (spark, streams, time);

    /// <summary>When the container was started; default before.</summary>
    public long StartedAt { get; private set; }

    /// <summary>Runs the function.</summary>
    /// <param name="start">Has the container start the function.</param>
    /// <param name="timeout">How long, from the container's start until all that the function wrote has been taken.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>How the run ended; what the function wrote has been passed on when it ended by itself.</returns>
    public async Task<RunOutcome> ExecuteAsync(Func<CancellationToken, Task> start, TimeSpan timeout, CancellationToken cancellationToken)
    {
        // What starts the function goes first: all the rest can be done while the kernel executes it.
        Task input = _streams.IsBuffered ? Feed() : Task.CompletedTask;
        long released = _time.GetTimestamp();
        Task started = start(cancellationToken);

        // What is started at once may have ended before this thread goes on.
        bool isReleased = started.IsCompleted;
        using CancellationTokenRegistration cancelled = cancellationToken.UnsafeRegister(static s => ((FunctionRun)s!).Stop(RunEnd.Cancelled, givesUp: true), this);
        using var stdout = new OutputReader(_spark.Stdio.Stdout, _streams.Stdout, !_streams.IsBuffered, _end.Token);
        using var stderr = new OutputReader(_spark.Stdio.Stderr, _streams.Stderr, !_streams.IsBuffered, _end.Token);
        StopWhenOver(stdout.Completion, isOutput: true, _streams.Stdout is BufferSink buffer ? buffer.IsExceeded : null);
        StopWhenOver(stderr.Completion, isOutput: true, _streams.Stderr.IsExceeded);
        Task taken = Task.CompletedTask;
        try
        {
            await started.ConfigureAwait(false);
            StartedAt = isReleased ? released : _time.GetTimestamp();
            if (!_streams.IsBuffered)
                input = Feed();

            _ = StopWhenOutOfMemoryAsync();
            using ITimer timer = _time.CreateTimer(static s => ((FunctionRun)s!).Stop(RunEnd.TimedOut, givesUp: true), this, timeout, Timeout.InfiniteTimeSpan);
            Task<SparkExited> exit = _spark.Process.ReceiveAsync<SparkExited>(RunStage.Run, CancellationToken.None);
            if (await Task.WhenAny(exit, _stopped.Task).ConfigureAwait(false) != exit)
            {
                RunEnd reason = await _stopped.Task.ConfigureAwait(false);
                await EndAsync(reason, exit).ConfigureAwait(false);
                taken = Task.WhenAll(stdout.FinishAsync(), stderr.FinishAsync());
                await Quietly(taken.WaitAsync(StreamPatience, _time, CancellationToken.None)).ConfigureAwait(false);
                if (reason == RunEnd.StreamFailed)
                    await FailureOf(input, stdout.Completion, stderr.Completion).ConfigureAwait(false);
                SparkExited? killed = exit.IsCompletedSuccessfully ? await exit.ConfigureAwait(false) : null;
                return reason == RunEnd.OutOfMemory
                    ? new RunOutcome(RunEnd.Exited, killed ?? KilledWithSpark, _spark.ReadUsage())
                    : new RunOutcome(reason, killed, _spark.ReadUsage());
            }

            // Whether it ended well or not: what it wrote is wanted, however slowly the caller's streams take it. Memory takes it at once.
            await Quietly(exit).ConfigureAwait(false);
            taken = Task.WhenAll(stdout.FinishAsync(), stderr.FinishAsync());
            if (!_streams.IsBuffered && await Task.WhenAny(taken, _givenUp.Task).ConfigureAwait(false) != taken)
            {
                RunEnd reason = await _givenUp.Task.ConfigureAwait(false);
                if (reason == RunEnd.StreamFailed)
                    await FailureOf(stdout.Completion, stderr.Completion).ConfigureAwait(false);
                SparkExited? ended = exit.IsCompletedSuccessfully ? await exit.ConfigureAwait(false) : null;
                return new RunOutcome(reason, ended, _spark.ReadUsage()) { IsUntaken = true };
            }

            await taken.ConfigureAwait(false);
            CgroupUsage usage = _spark.ReadUsage();

            // On version 2, who runs out of memory is killed with everything in the cgroup, the spark and its answer included.
            SparkExited exited = exit.IsFaulted && usage.OutOfMemoryKills > 0 ? KilledWithSpark : await exit.ConfigureAwait(false);

            // What came last may have been the one byte too many.
            bool exceeded = _stopped.Task.IsCompletedSuccessfully && _stopped.Task.Result == RunEnd.OutputExceeded;
            return new RunOutcome(exceeded ? RunEnd.OutputExceeded : RunEnd.Exited, exited, usage);
        }
        finally
        {
            await _end.CancelAsync().ConfigureAwait(false);

            // A caller's stream that does not heed its token, as a terminal's, would hold up the answer for as long as it has nothing to give, or takes nothing.
            Task all = Task.WhenAll(Quietly(stdout.Completion), Quietly(stderr.Completion), Quietly(taken), Quietly(input));
            await Quietly(all.WaitAsync(StreamPatience, _time, CancellationToken.None)).ConfigureAwait(false);
        }
    }

    public void Dispose() => _end.Dispose();

    private static SparkExited KilledWithSpark => new(128 + Posix.SigKill, Posix.SigKill, 0, 0);

    /// <summary>Awaits what has its say elsewhere.</summary>
    private static async Task Quietly(Task task) => await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    /// <summary>Throws what one of the caller's streams threw; others may still wait.</summary>
    private static Task FailureOf(params ReadOnlySpan<Task> streams)
    {
        foreach (Task stream in streams)
        {
            if (stream.IsFaulted)
                return stream;
        }

        return Task.CompletedTask;
    }

    private Task Feed()
    {
        // A caller's stream may block the thread that reads it.
        Task input = _streams.IsBuffered
            ? _streams.Input(_spark.Stdio.Stdin, _end.Token)
            : Task.Run(() => _streams.Input(_spark.Stdio.Stdin, _end.Token), CancellationToken.None);
        StopWhenOver(input, isOutput: false, null);
        return input;
    }

    private void Stop(RunEnd reason, bool givesUp)
    {
        _stopped.TrySetResult(reason);
        if (givesUp)
            _givenUp.TrySetResult(reason);
    }

    private void StopWhenOver(Task stream, bool isOutput, Func<bool>? exceeded) => stream.ContinueWith(
        (task, _) =>
        {
            if (task.IsFaulted)
                Stop(RunEnd.StreamFailed, givesUp: isOutput);
            else if (exceeded?.Invoke() == true)
                Stop(RunEnd.OutputExceeded, givesUp: false);
        },
        null,
        CancellationToken.None,
        TaskContinuationOptions.ExecuteSynchronously,
        TaskScheduler.Default);

    private async Task StopWhenOutOfMemoryAsync()
    {
        try
        {
            if (await _spark.Cgroup.WatchOutOfMemoryAsync(_end.Token).ConfigureAwait(false))
                Stop(RunEnd.OutOfMemory, givesUp: false);
        }
        catch (Exception ex) when (ex is OperationCanceledException or XfnException)
        {
            // The run is over; or the cgroup's limits do not hold any more, which is found, and told, at the run's end.
        }
    }

    private async Task EndAsync(RunEnd reason, Task exit)
    {
        if (reason == RunEnd.TimedOut)
            await SignalAsync(Posix.SigTerm, exit, Grace).ConfigureAwait(false);
        if (!exit.IsCompleted)
            await SignalAsync(Posix.SigKill, exit, KillPatience).ConfigureAwait(false);
        _spark.Process.Kill();
        await Quietly(exit).ConfigureAwait(false);
    }

    private async Task SignalAsync(int signal, Task exit, TimeSpan patience)
    {
        try
        {
            await _spark.Process.SendAsync(new SparkSignal(signal), _end.Token).ConfigureAwait(false);
        }
        catch (IOException)
        {
            // It just ended by itself.
        }

        // It may not end on request, or be told as one that never executed its function: it was killed first.
        await exit.WaitAsync(patience, _time, _end.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
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

    /// <summary>The cgroup's count, which has every process; else that of the first one and those it waited for; null when neither is known.</summary>
    public TimeSpan? CpuTime => Usage.CpuTime ?? (IsCounted ? TimeSpan.FromMicroseconds(Exited!.CpuMicroseconds) : null);

    /// <summary>Likewise.</summary>
    public long? PeakMemoryBytes => Usage.PeakMemoryBytes ?? (IsCounted ? Exited!.PeakMemoryBytes : null);

    /// <summary>No process has ever had no memory.</summary>
    private bool IsCounted => Exited is { PeakMemoryBytes: > 0 };
}

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

    /// <summary>A stream of the caller's threw.</summary>
    StreamFailed,
}
