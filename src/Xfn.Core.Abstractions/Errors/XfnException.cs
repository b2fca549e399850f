namespace Xfn.Core;

/// <summary>A run failed. The message names what failed, what was found and expected, and the remedy where there is one.</summary>
public class XfnException : Exception
{
    /// <summary>Makes an error of a stage.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public XfnException(RunStage stage, string message, Exception? innerException = null)
        : base(message, innerException) => Stage = stage;

    /// <summary>Where the run was when it failed.</summary>
    public RunStage Stage { get; }
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
