namespace Xfn.Core;

/// <summary>A container that lives could not do what was asked of it: it is not ready, has ended, or lacks
/// something.</summary>
public abstract class ContainerException : XfnException
{
    private protected ContainerException(RunStage stage, string message, Exception? innerException = null)
        : base(stage, message, innerException)
    {
    }

    /// <summary>The last lines of the container's logs, at most 16 KiB. Empty where there are none, or where the error
    /// has nothing to do with them.</summary>
    public string LogTail { get; init; } = "";

    /// <summary>How a program ended that was executed in the container (<see cref="RunningContainer.ExecAsync"/>), and
    /// what it had written by then. Null where none had been started.</summary>
    public ExecResult? Result { get; init; }
}

/// <summary>The container was not ready at the end of the time for that (<see cref="Ready.Within"/>). It was
/// ended.</summary>
public sealed class ContainerNotReadyException : ContainerException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Start"/>.</summary>
    /// <param name="message">What was waited for, and what was found.</param>
    /// <param name="innerException">The last thing that failed. Null, the default, for none.</param>
    public ContainerNotReadyException(string message, Exception? innerException = null)
        : base(RunStage.Start, message, innerException)
    {
    }
}

/// <summary>The container has ended: before it was ready, or before what was asked of it was done.</summary>
public sealed class ContainerEndedException : ContainerException
{
    /// <summary>Makes the error.</summary>
    /// <param name="stage"><see cref="RunStage.Start"/> before it was ready, else <see cref="RunStage.Run"/>.</param>
    /// <param name="message">What was asked, and how it ended.</param>
    /// <param name="innerException">What noticed it. Null, the default, for none.</param>
    public ContainerEndedException(RunStage stage, string message, Exception? innerException = null)
        : base(stage, message, innerException)
    {
    }

    /// <summary>The image of the container that ended: of two that are linked, it may be the other.</summary>
    public required string Image { get; init; }

    /// <summary>How it ended. <see cref="ContainerEnd.Outside"/> where xfn-spark was killed, which holds it.</summary>
    public required ContainerExit Exit { get; init; }

    /// <summary>Whether it had been ready.</summary>
    public bool WasReady => Stage != RunStage.Start;
}

/// <summary>A further program in a container (<see cref="RunningContainer.ExecAsync"/>) could not be started, or was
/// killed.</summary>
public sealed class ExecException : ContainerException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Run"/>.</summary>
    /// <param name="reason">Why.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The error that caused it. Null, the default, for none.</param>
    public ExecException(ExecFailure reason, string message, Exception? innerException = null)
        : base(RunStage.Run, message, innerException) => Reason = reason;

    /// <summary>Why.</summary>
    public ExecFailure Reason { get; }
}

/// <summary>Why a further program in a container failed.</summary>
public enum ExecFailure
{
    /// <summary>The container has no such program, or it cannot be executed there.</summary>
    NotExecutable,

    /// <summary>It ran longer than <see cref="ExecOptions.Timeout"/>.</summary>
    TimedOut,

    /// <summary>It wrote more than <see cref="ExecOptions.MaxOutputBytes"/>.</summary>
    OutputExceeded,
}
