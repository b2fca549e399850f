namespace Xfn.Core;

/// <summary>The request cannot be run as it stands: a malformed image reference, a limit that is no quantity, a timeout that is not positive.</summary>
public sealed class InvalidRequestException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public InvalidRequestException(string message, Exception? innerException = null)
        : base(RunStage.Validate, message, innerException)
    {
    }
}
