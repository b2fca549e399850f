using System.IO.Pipes;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>A further program in a container that lives.</summary>
internal sealed class LiveProcess : RunningProcess
{
    private readonly SparkConversation _conversation;
    private readonly SparkRequest _request;
    private readonly LiveTerminal? _terminal;
    private int _disposed;
    private volatile bool _timedOut;

    private LiveProcess(SparkConversation conversation, SparkRequest request, SafeFileHandle[] opened, TimeSpan? timeout, TimeProvider time)
    {
        (_conversation, _request) = (conversation, request);
        if (opened is [{ } master])
        {
            _terminal = LiveTerminal.Of(master);
            Stdin = _terminal.Input;
            Stdout = _terminal.Output;
            Stderr = Stream.Null;
        }
        else
        {
            Stdin = Pipe(opened[0], PipeDirection.Out);
            Stdout = Pipe(opened[1], PipeDirection.In);
            Stderr = Pipe(opened[2], PipeDirection.In);
        }

        Exited = WaitAsync(timeout, time);
    }

    public override Stream Stdin { get; }

    public override Stream Stdout { get; }

    public override Stream Stderr { get; }

    public override Task<ExecExit> Exited { get; }

    /// <summary>Starts a program.</summary>
    /// <exception cref="SparkFailedException">It cannot be executed.</exception>
    /// <exception cref="SparkGoneException">The container has ended.</exception>
    public static async Task<LiveProcess> StartAsync(StartedSandbox started, SparkExec exec, TimeSpan? timeout, TimeProvider time, CancellationToken cancellationToken)
    {
        SparkRequest request = started.Conversation.Begin(id => exec with { Id = id }, cancellationToken);
        SafeFileHandle[] taken = [];
        try
        {
            SparkOpened opened = await request.ReceiveAsync<SparkOpened>(cancellationToken).ConfigureAwait(false);
            taken = await started.Descriptors.TakeAsync(opened.Descriptors, cancellationToken).ConfigureAwait(false);
            bool isKind = exec.Terminal ? taken.Length == 1 : taken.Length == 3 && Array.TrueForAll(taken, Posix.IsPipe);
            return isKind ? new LiveProcess(started.Conversation, request, taken, timeout, time) : throw new ContainerEnvironmentException(
                RunStage.Run, "cannot use what xfn-spark handed over: it is no pipe. Stop the container: it may have taken over its xfn-spark.");
        }
        catch
        {
            request.Dispose();
            foreach (SafeFileHandle handle in taken)
                handle.Dispose();
            throw;
        }
    }

    public override void Signal(int signal) => _conversation.Post(new SparkSignal(_request.Id, LiveContainer.CheckSignal(signal)));

    public override void Resize(TerminalSize size)
    {
        if (_terminal is null)
            throw new InvalidOperationException($"cannot resize the terminal of a program: it has none. Ask for one ({nameof(ExecOptions)}.{nameof(ExecOptions.Terminal)}).");
        _terminal.Resize(size);
    }

    /// <summary>Kills it, and waits for its end.</summary>
    public async Task KillAsync()
    {
        if (!Exited.IsCompleted)
            _conversation.Post(new SparkSignal(_request.Id, Posix.SigKill));
        await Exited.ConfigureAwait(false);
    }

    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await KillAsync().ConfigureAwait(false);
        await Stdin.DisposeAsync().ConfigureAwait(false);
        await Stdout.DisposeAsync().ConfigureAwait(false);
        await Stderr.DisposeAsync().ConfigureAwait(false);
        _terminal?.Dispose();
    }

    private async Task<ExecExit> WaitAsync(TimeSpan? timeout, TimeProvider time)
    {
        using var over = new CancellationTokenSource();
        Task<SparkEnded> end = _request.ReceiveAsync<SparkEnded>(CancellationToken.None);
        try
        {
            if (timeout is { } patience && await Task.WhenAny(end, Task.Delay(patience, time, over.Token)).ConfigureAwait(false) != end)
            {
                _timedOut = true;
                _conversation.Post(new SparkSignal(_request.Id, Posix.SigKill));
            }

            SparkEnded ended = await end.ConfigureAwait(false);
            return new ExecExit
            {
                ExitCode = ended.ExitCode,
                Signal = ended.Signal == 0 ? null : ended.Signal,
                TimedOut = _timedOut,
                CpuTime = TimeSpan.FromMicroseconds(ended.CpuMicroseconds),
            };
        }
        catch (Exception ex) when (ex is SparkGoneException or SparkFailedException or XfnException)
        {
            // With the container's spark all of its programs have ended.
            return new ExecExit { ExitCode = 128 + Posix.SigKill, Signal = Posix.SigKill, TimedOut = _timedOut };
        }
        finally
        {
            await over.CancelAsync().ConfigureAwait(false);
            _request.Dispose();
        }
    }

    /// <summary>A pipe's end that was taken from a spark.</summary>
    public static AnonymousPipeClientStream Pipe(SafeFileHandle descriptor, PipeDirection direction)
    {
        var pipe = new SafePipeHandle(descriptor.DangerousGetHandle(), ownsHandle: true);
        descriptor.SetHandleAsInvalid();
        return new AnonymousPipeClientStream(direction, pipe);
    }
}
