namespace Xfn.Core.Composition;

/// <summary>A render failed. The message says where and why.</summary>
public sealed class RenderException : Exception
{
    /// <summary>Makes an error.</summary>
    /// <param name="reason">Why.</param>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The error that caused it. Null, the default, for none.</param>
    public RenderException(RenderFailure reason, string message, Exception? innerException = null)
        : base(message, innerException) => Reason = reason;

    /// <summary>Why.</summary>
    public RenderFailure Reason { get; }

    /// <summary>What there was by then; null where there was nothing.</summary>
    public RenderResult? Partial { get; init; }
}

/// <summary>Why a render failed.</summary>
public enum RenderFailure
{
    /// <summary>What it was given does not fit together.</summary>
    Input,

    /// <summary>A function could not be started, or did not answer.</summary>
    Function,

    /// <summary>A function returned a fatal result.</summary>
    Fatal,

    /// <summary>What functions want cannot be: a name that is none.</summary>
    Result,

    /// <summary>It was not done at the end of <see cref="RenderOptions.Timeout"/>.</summary>
    Timeout,

    /// <summary>The output differs from <see cref="RenderOptions.GoldenFile"/>.</summary>
    Golden,

    /// <summary>The engine failed, which is not the built-in one.</summary>
    Engine,
}
