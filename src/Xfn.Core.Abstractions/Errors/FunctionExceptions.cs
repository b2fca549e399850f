namespace Xfn.Core;

/// <summary>The function was started and failed: it exited non-zero, ran too long, or wrote too much.</summary>
public abstract class FunctionFailedException : XfnException
{
    private protected FunctionFailedException(string message)
        : base(RunStage.Run, message)
    {
    }

    /// <summary>The last that the function wrote to stderr: at most 64 KiB, decoded as UTF-8.</summary>
    public string StderrTail { get; init; } = "";

    /// <summary>Measurements of the run until it failed.</summary>
    public RunStatistics Statistics { get; init; } = new();
}

/// <summary>The function ended by itself, with an exit status other than 0 or by a signal.</summary>
public sealed class FunctionExitedException : FunctionFailedException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    public FunctionExitedException(string message)
        : base(message)
    {
    }

    /// <summary>The exit status, 1 to 255; 128 + <see cref="Signal"/> when a signal ended the function.</summary>
    public int ExitCode { get; init; }

    /// <summary>The signal that ended the function; null when it exited.</summary>
    public int? Signal { get; init; }

    /// <summary>Whether the kernel killed it because its memory limit was reached.</summary>
    public bool OutOfMemory { get; init; }

    /// <summary>What the function had written to stdout. Empty in a streaming run.</summary>
    public ReadOnlyMemory<byte> Output { get; init; }
}

/// <summary>The function ran longer than <see cref="RunFunctionConfig.Timeout"/> and was killed; or it had ended, and
/// its output had not been taken by then.</summary>
public sealed class FunctionTimedOutException : FunctionFailedException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    public FunctionTimedOutException(string message)
        : base(message)
    {
    }

    /// <summary>How long the function was allowed to run.</summary>
    public TimeSpan Timeout { get; init; }
}

/// <summary>The function wrote more to stdout or stderr than is allowed, and was killed.</summary>
public sealed class OutputLimitExceededException : FunctionFailedException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    public OutputLimitExceededException(string message)
        : base(message)
    {
    }

    /// <summary>The limit, in bytes.</summary>
    public long LimitBytes { get; init; }
}

/// <summary>The run was cancelled while its function ran, which was killed. A run that is cancelled before that throws
/// a plain <see cref="OperationCanceledException"/>.</summary>
public sealed class FunctionCanceledException : OperationCanceledException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What was cancelled.</param>
    /// <param name="cancellationToken">The caller's token.</param>
    public FunctionCanceledException(string message, CancellationToken cancellationToken)
        : base(message, cancellationToken)
    {
    }

    /// <summary>The last that the function wrote to stderr: at most 64 KiB, decoded as UTF-8.</summary>
    public string StderrTail { get; init; } = "";

    /// <summary>Measurements of the run until it was cancelled.</summary>
    public RunStatistics Statistics { get; init; } = new();

    /// <summary>The same for another token: a caller knows its own, not one that was linked to it.</summary>
    internal FunctionCanceledException With(CancellationToken cancellationToken) => new(Message, cancellationToken) { StderrTail = StderrTail, Statistics = Statistics };
}
