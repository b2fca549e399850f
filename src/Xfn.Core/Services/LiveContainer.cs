using System.Collections.Concurrent;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Xfn.Core.Cgroups;
using Xfn.Core.Egress;
using Xfn.Core.Interop;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>A container that lives: a sandbox that goes on being spoken to after its start.</summary>
internal sealed partial class LiveContainer : RunningContainer
{
    private static readonly TimeSpan LongestGrace = TimeSpan.FromHours(1);

    /// <summary>How long a killed container may take to be gone: gigabytes are not freed at once. The spark is asked to
    /// kill before it is killed, since only it knows how the container ended.</summary>
    private static readonly TimeSpan KillPatience = TimeSpan.FromSeconds(2);

    /// <summary>How long a container that is seen to end may take to be known as ended, on a busy machine.</summary>
    private static readonly TimeSpan EndPatience = TimeSpan.FromSeconds(10);

    private readonly ContainerRequest _request;
    private readonly StartedSandbox _started;
    private readonly int _stopSignal;
    private readonly CgroupLimits _limits;
    private readonly ExecPlanner _execs;
    private readonly ContainerNetwork _network;
    private readonly ContainerCopies _copies;
    private readonly HandedOut _handedOut = new();
    private readonly ConcurrentDictionary<int, string> _links = new();
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly LogRing _log;
    private readonly CancellationTokenSource _over = new();
    private readonly TaskCompletionSource _cleared = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private ContainerEnd _endedBy = ContainerEnd.Itself;
    private bool _hasExited;
    private bool _ignoredStopSignal;
    private bool _isOutOfMemory;
    private volatile CgroupUsage? _used;
    private int _disposed;

    /// <summary>Takes over a container that has been started.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="run">The same, checked.</param>
    /// <param name="started">The container, which is this one's to end from now on.</param>
    /// <param name="execs">Plans its further programs.</param>
    /// <param name="options">The runner's: its clock and its log.</param>
    public LiveContainer(ContainerRequest request, CheckedRequest run, StartedSandbox started, ExecPlanner execs, ContainerRunnerOptions options)
    {
        (_request, _started, _execs, _time, _logger) = (request, started, execs, options.TimeProvider, options.Logger);
        (_stopSignal, _limits) = (run.StopSignalOf(started.Image.Config), run.Limits);
        _network = new ContainerNetwork(started.Conversation, started.Descriptors, isOwn: HasOwnNetwork);
        _copies = new ContainerCopies(started, execs.User);
        _log = new LogRing(request.LogBytes);
        CancellationToken over = _over.Token;
        LogReader stderr = Read(started.Sandbox.Stdio.Stderr, LogSource.Stderr);
        if (HasStreams)
        {
            Exited = LiveAsync([stderr]);
        }
        else
        {
            started.Sandbox.Stdio.Stdin.Dispose();
            Exited = LiveAsync([stderr, Read(started.Sandbox.Stdio.Stdout, LogSource.Stdout)]);
        }

        // Not before there is an end to wait for.
        _ = EndWhenOutOfMemoryAsync(over);
    }

    public override string Image => _request.Image;

    public override Digest ImageDigest => _started.Image.ManifestDigest;

    public override Task<ContainerExit> Exited { get; }

    public override Stream Stdin => Own(_started.Terminal?.Input ?? _started.Sandbox.Stdio.Stdin);

    public override Stream Stdout => Own(_started.Terminal?.Output ?? _started.Sandbox.Stdio.Stdout);

    public override string ToString() => $"container of image {Image} (process {_started.First?.Id})";

    /// <summary>Ends when nothing is left of it but its logs, and a stdout that has not been read yet.</summary>
    public Task Cleared => _cleared.Task;

    public override IAsyncEnumerable<LogLine> ReadLogsAsync(bool follow = false, CancellationToken cancellationToken = default) => _log.ReadAsync(follow, cancellationToken);

    /// <summary>The ports on which its programs listen.</summary>
    public IReadOnlyCollection<int> ListeningPorts() => _started.First?.ListeningPorts(_network.Listeners) ?? [];

    /// <summary>Opens the way out of one that waits at its gate, lets it execute its program, and waits until it
    /// has.</summary>
    /// <exception cref="SparkFailedException">It could not.</exception>
    /// <exception cref="XfnException">It has no way out.</exception>
    public async Task ReleaseAsync(ContainerEgress egress, CancellationToken cancellationToken)
    {
        try
        {
            await WhileItLivesAsync("open the way out", () => egress.OpenAsync(_network, cancellationToken), RunStage.Start).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw ContainerNetwork.Refused(ex);
        }

        TimeSpan pause = TimeSpan.FromMilliseconds(1);
        _started.Sandbox.CountFromNow();
        await _started.Sandbox.ReleaseAsync(cancellationToken).ConfigureAwait(false);
        while (_started.First is { IsAlive: true } first)
        {
            if (first.HasLeftGate())
                return;
            await Task.Delay(pause, _time, cancellationToken).ConfigureAwait(false);
        }

        // What has ended by now may never have been executed.
        await Exited.WaitAsync(cancellationToken).ConfigureAwait(false);
        if (_started.Conversation.Failure is SparkFailedException failure)
            throw failure;
    }

    public bool HasOwnNetwork => _request.Network == NetworkPolicy.Isolated;

    /// <summary>The command of the image's health check.</summary>
    /// <exception cref="InvalidRequestException">It has none.</exception>
    public IReadOnlyList<string> HealthcheckArguments() => ImageHealthcheck.Arguments(_started.Image.Config.Config?.Healthcheck) ?? throw new InvalidRequestException(
        $"cannot wait until a container of image '{Image}' passes its health check: the image has none. Wait for another condition.");

    /// <summary>The last of its logs, for an error.</summary>
    public string LogTail() => _log.Tail(ContainerErrors.TailLength);

    public override ContainerStatistics ReadStatistics()
    {
        if (_used is { } all)
            return Statistics(all, null, null);
        try
        {
            CgroupUsage used = _started.Sandbox.ReadUsage();
            (long? memory, int? processes) = _started.Sandbox.Cgroup.ReadNow();
            return Statistics(_used ?? used, memory, processes);
        }
        catch (Exception ex) when (_used is not null && (ex is XfnException || CgroupFile.IsFileError(ex)))
        {
            // It has ended meanwhile, and its cgroup is gone.
            return Statistics(_used, null, null);
        }

        ContainerStatistics Statistics(CgroupUsage used, long? memory, int? processes) => new()
        {
            CpuTime = used.CpuTime,
            MemoryBytes = memory,
            PeakMemoryBytes = used.PeakMemoryBytes,
            MemoryLimitBytes = used.PeakMemoryBytes is null && memory is null ? null : _limits.MemoryBytes,

            // The spark is one of them, and none of the container's.
            Processes = processes is > 0 ? processes - 1 : processes,
        };
    }

    public override void Resize(TerminalSize size)
    {
        if (_request.Terminal is null)
            throw new InvalidOperationException($"cannot resize the terminal of a container of image '{Image}': it has none. Ask for one ({nameof(ContainerRequest)}.{nameof(ContainerRequest.Terminal)}).");
        _started.Terminal?.Resize(size);
    }

    public override void Signal(int signal) => _started.Conversation.Post(new SparkSignal(0, CheckSignal(signal)));

    public static int CheckSignal(int signal) => signal is >= 1 and <= 64
        ? signal
        : throw new ArgumentOutOfRangeException(nameof(signal), $"cannot send signal '{signal}': expected 1 to 64.");

    public override Task<ContainerExit> StopAsync(TimeSpan? grace = null, CancellationToken cancellationToken = default)
    {
        if (grace < TimeSpan.Zero || grace > LongestGrace)
            throw new ArgumentOutOfRangeException(nameof(grace), $"cannot wait '{grace}' for a container's end: expected 0 to {LongestGrace.TotalHours} hour.");
        return StopAsync(grace ?? _request.StopGrace, ContainerEnd.Stop, cancellationToken);
    }

    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            await StopAsync(_request.StopGrace, ContainerEnd.Disposal, CancellationToken.None).ConfigureAwait(false);
        await _cleared.Task.ConfigureAwait(false);
        _started.Terminal?.Dispose();
        _started.Sandbox.Stdio.Dispose();
    }

    /// <summary>Refuses what makes no sense.</summary>
    /// <exception cref="InvalidRequestException">The request cannot be met as it stands.</exception>
    public static void Check(ContainerRequest request)
    {
        const int leastLog = 4 << 10, mostLog = 1 << 30, leastLine = 128;
        if (request.StopGrace < TimeSpan.Zero || request.StopGrace > LongestGrace)
            throw new InvalidRequestException($"cannot use stop grace '{request.StopGrace}': expected 0 to {LongestGrace.TotalHours} hour.");
        if (request.LogBytes is < leastLog or > mostLog)
            throw new InvalidRequestException($"cannot keep '{request.LogBytes}' bytes of logs: expected {leastLog} to {mostLog}.");
        if (request.LogLineBytes < leastLine)
            throw new InvalidRequestException($"cannot use lines of '{request.LogLineBytes}' bytes in logs: expected {leastLine} or more.");
        if (!Enum.IsDefined(request.Stdio))
            throw new InvalidRequestException($"cannot use stdio '{request.Stdio}': expected one of {string.Join(", ", Enum.GetNames<ContainerStdio>())}.");
        if (request.Terminal is { } size && !ExecPlanner.IsSize(size))
            throw new InvalidRequestException($"cannot use a terminal of '{size.Rows}' rows and '{size.Columns}' columns: expected 1 to {ushort.MaxValue} each.");
        if (request.Network == NetworkPolicy.Runner && request.Ready.NeedsOwnNetwork)
            throw new InvalidRequestException($"cannot wait until a container {request.Ready} in the runner's network: others may listen there as well. Give it a network of its own, or wait for another condition.");
    }

    /// <summary>The error for what it cannot do, once it has ended or is about to.</summary>
    /// <inheritdoc cref="ContainerErrors.EndedAsync" path="/param"/>
    public Task<ContainerEndedException> EndedAsync(RunStage stage, Func<ContainerExit, string> message, Exception? cause = null, ExecResult? result = null) =>
        ContainerErrors.EndedAsync(stage, message, this, () => Task.FromResult(LogTail()), cause, result);

    private Task<ContainerEndedException> EndedAsync(string what, Exception? cause = null, ExecResult? result = null, RunStage stage = RunStage.Run) =>
        EndedAsync(stage, exit => $"cannot {what} in a container of image '{Image}': it {exit}.", cause, result);

    /// <summary>Does what takes a container that lives. A failure that comes of its end is told as that.</summary>
    /// <exception cref="ContainerEndedException">It has ended, or is about to.</exception>
    private async Task<T> WhileItLivesAsync<T>(string what, Func<Task<T>> action, RunStage stage = RunStage.Run)
    {
        if (_hasExited)
            throw await EndedAsync(what, stage: stage).ConfigureAwait(false);
        try
        {
            return await action().ConfigureAwait(false);
        }
        catch (SparkGoneException ex)
        {
            throw await EndedAsync(what, ex, stage: stage).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is SparkFailedException or ContainerEnvironmentException or SocketException)
        {
            if (await IsEndingAsync(TimeSpan.Zero).ConfigureAwait(false))
                throw await EndedAsync(what, ex, stage: stage).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Whether the container has ended, or is about to: its sockets are closed, and its programs killed, a while
    /// before that is known.</summary>
    /// <param name="patience">How long an end is waited for of which nothing is to be seen yet.</param>
    private async Task<bool> IsEndingAsync(TimeSpan patience)
    {
        if (_started.First is not { IsEnding: false } || _started.Descriptors.IsSparkEnding)
            patience = EndPatience;
        await ((Task)_started.Conversation.Exited).WaitAsync(patience, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return _started.Conversation.Exited.IsCompleted;
    }

    private LogReader Read(Stream pipe, LogSource source) =>
        new(pipe, new LogSink(_log, source, Math.Min(_request.LogLineBytes, _request.LogBytes / 4 - LogRing.HeaderBytes), _time), _over.Token);

    private bool HasStreams => _request.Stdio == ContainerStdio.Piped || _request.Terminal is not null;

    private Stream Own(Stream stream) => HasStreams
        ? stream
        : throw new InvalidOperationException($"cannot give stdin or stdout of a container of image '{Image}': its stdout goes to the logs. Set {nameof(ContainerRequest.Stdio)} to {nameof(ContainerStdio.Piped)} in its request.");

    private async Task<ContainerExit> StopAsync(TimeSpan grace, ContainerEnd by, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (!_hasExited && _endedBy == ContainerEnd.Itself)
                _endedBy = by;
        }

        await _handedOut.CloseAsync().ConfigureAwait(false);

        if (grace > TimeSpan.Zero && !_started.Conversation.Exited.IsCompleted)
        {
            if (_started.First?.IsDeafTo(_stopSignal) == true)
            {
                _ignoredStopSignal = true;
            }
            else
            {
                _started.Conversation.Post(new SparkSignal(0, _stopSignal));
                await ((Task)Exited).WaitAsync(grace, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                _ignoredStopSignal |= !_started.Conversation.Exited.IsCompleted && !cancellationToken.IsCancellationRequested;
            }
        }

        await KillAsync().ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        return await Exited.ConfigureAwait(false);
    }

    private async Task KillAsync()
    {
        if (Exited.IsCompleted)
            return;
        _started.Conversation.Post(new SparkSignal(0, Posix.SigKill));
        await ((Task)Exited).WaitAsync(KillPatience, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!Exited.IsCompleted)
            _started.Sandbox.Kill();
        await Exited.ConfigureAwait(false);
    }

    /// <summary>Waits for the end, and gives back what the container held.</summary>
    private async Task<ContainerExit> LiveAsync(IReadOnlyList<LogReader> outputs)
    {
        SparkExited? exited = await _started.Conversation.Exited.ConfigureAwait(false);
        lock (_lock)
            _hasExited = true;

        // All that the container wrote lies in the pipes.
        foreach (LogReader output in outputs)
        {
            await output.FinishAsync().ConfigureAwait(false);
            output.Dispose();
        }

        _log.Close();
        ContainerExit exit = ExitOf(exited);
        await _over.CancelAsync().ConfigureAwait(false);
        _ = ClearAsync();
        return exit;
    }

    private ContainerExit ExitOf(SparkExited? exited)
    {
        // On version 2 the kernel kills the whole cgroup for want of memory, the spark included.
        CgroupUsage used = _used = ReadUsed();
        bool outOfMemory = _isOutOfMemory || used.OutOfMemoryKills > 0;
        return new ContainerExit
        {
            ExitCode = exited?.ExitCode ?? 128 + Posix.SigKill,
            Signal = exited is null ? Posix.SigKill : exited.Signal == 0 ? null : exited.Signal,
            OutOfMemory = outOfMemory,
            EndedBy = _endedBy != ContainerEnd.Itself || exited is not null || outOfMemory ? _endedBy : ContainerEnd.Outside,
            IgnoredStopSignal = _ignoredStopSignal,
        };
    }

    private CgroupUsage ReadUsed()
    {
        try
        {
            return _started.Sandbox.ReadUsage();
        }
        catch (Exception ex) when (ex is XfnException || CgroupFile.IsFileError(ex))
        {
            // Whoever manages the machine's cgroups took this one away. The container has ended anyway.
            return new CgroupUsage();
        }
    }

    private async Task EndWhenOutOfMemoryAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!await _started.Sandbox.Cgroup.WaitForOutOfMemoryAsync(cancellationToken).ConfigureAwait(false))
                return;
            _isOutOfMemory = true;
            await KillAsync().ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is OperationCanceledException or XfnException)
        {
            // The container has ended; or the cgroup's limits do not hold any more, which its statistics tell.
        }
    }

    private async Task ClearAsync()
    {
        try
        {
            await _handedOut.CloseAsync().ConfigureAwait(false);
            _network.Dispose();
            await _started.EndAsync().ConfigureAwait(false);
        }
        finally
        {
            _over.Dispose();
            if (!HasStreams)
                _started.Sandbox.Stdio.Dispose();
            _cleared.TrySetResult();
        }
    }
}
