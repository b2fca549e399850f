namespace Xfn.Core;

/// <summary>A run, or a piece of work on the cache, failed. The message says what failed, what was found, and the
/// remedy where there is one.</summary>
public class XfnException : Exception
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Pull"/>, as an <see cref="IImageFetcher"/> finds
    /// one.</summary>
    /// <inheritdoc cref="XfnException(RunStage, string, Exception)"/>
    public XfnException(string message, Exception? innerException = null)
        : this(RunStage.Pull, message, innerException)
    {
    }

    /// <summary>Makes an error of a stage.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The error that caused it. Null, the default, for none.</param>
    public XfnException(RunStage stage, string message, Exception? innerException = null)
        : base(message, innerException) => Stage = stage;

    /// <summary>Where the run was when it failed.</summary>
    public RunStage Stage { get; }

    /// <summary>Whether the same request may succeed when it is made again, and its function was not started. False by
    /// default.</summary>
    /// <remarks>It is true when too many runs wait (<see cref="RunnerBusyException"/>); when a registry does not
    /// answer, breaks off, or answers with a status that passes, such as 429 or 503, after all retries; and when no
    /// server took the run (<c>ServerUnavailableException</c>).</remarks>
    public bool IsTransient { get; init; }
}

/// <summary>The stages of a run, in their order.</summary>
public enum RunStage
{
    /// <summary>Checking the request and the options.</summary>
    Validate,

    /// <summary>Waiting for a free place.</summary>
    Queue,

    /// <summary>From the reference to a manifest.</summary>
    Resolve,

    /// <summary>Fetching manifest, configuration and layers.</summary>
    Pull,

    /// <summary>Writing layers to the cache.</summary>
    Unpack,

    /// <summary>Making the runtime specification.</summary>
    Bundle,

    /// <summary>Making namespaces.</summary>
    Spawn,

    /// <summary>Mounting the root and starting the container.</summary>
    Start,

    /// <summary>The function is running.</summary>
    Run,
}
