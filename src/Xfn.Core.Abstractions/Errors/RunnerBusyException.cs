namespace Xfn.Core;

/// <summary>Too many runs are waiting already. Try again later.</summary>
public sealed class RunnerBusyException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public RunnerBusyException(string message, Exception? innerException = null)
        : base(RunStage.Queue, message, innerException)
    {
    }
}
