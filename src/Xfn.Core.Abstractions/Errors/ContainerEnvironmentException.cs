namespace Xfn.Core;

/// <summary>This machine cannot run containers as it is set up; the message says what is missing and how to get it.</summary>
public sealed class ContainerEnvironmentException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public ContainerEnvironmentException(RunStage stage, string message, Exception? innerException = null)
        : base(stage, message, innerException)
    {
    }
}
