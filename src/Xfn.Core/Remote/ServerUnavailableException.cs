namespace Xfn.Core;

/// <summary>A <see cref="RemoteContainerRunner"/> got no answer from a server: none can be reached, the connection
/// broke, or the deadline passed. It is transient where the function was not started.</summary>
public sealed class ServerUnavailableException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="mayHaveStarted">Whether the function may have been started.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The error that caused it. Null, the default, for none.</param>
    public ServerUnavailableException(bool mayHaveStarted, string message, Exception? innerException = null)
        : base(mayHaveStarted ? RunStage.Run : RunStage.Queue, message, innerException) => (MayHaveStarted, IsTransient) = (mayHaveStarted, !mayHaveStarted);

    /// <summary>Whether the function may have started. If not, no server took it, so it is safe to try again.</summary>
    public bool MayHaveStarted { get; }
}
