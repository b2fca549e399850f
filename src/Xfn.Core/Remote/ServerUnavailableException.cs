namespace Xfn.Core;

/// <summary>A <see cref="RemoteContainerRunner"/> got no answer of a server's: none can be reached, the connection broke, or the deadline passed.</summary>
public sealed class ServerUnavailableException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="mayHaveStarted">Whether the function may have been started.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public ServerUnavailableException(bool mayHaveStarted, string message, Exception? innerException = null)
        : base(mayHaveStarted ? RunStage.Run : RunStage.Queue, message, innerException) => MayHaveStarted = mayHaveStarted;

    /// <summary>Whether the function may have been started. If not, nothing of the request has reached a server, or a server has refused it; it is safe to try again.</summary>
    public bool MayHaveStarted { get; }
}
