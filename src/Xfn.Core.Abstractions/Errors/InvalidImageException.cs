namespace Xfn.Core;

/// <summary>The image is damaged, does not match its digests, or cannot be run: no entrypoint, an unknown media type, a malformed layer.</summary>
public sealed class InvalidImageException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public InvalidImageException(RunStage stage, string message, Exception? innerException = null)
        : base(stage, message, innerException)
    {
    }
}
