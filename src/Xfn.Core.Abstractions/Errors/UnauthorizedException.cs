namespace Xfn.Core;

/// <summary>The registry refused the credentials, or wants some.</summary>
public sealed class UnauthorizedException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public UnauthorizedException(string message, Exception? innerException = null)
        : base(RunStage.Pull, message, innerException)
    {
    }
}
