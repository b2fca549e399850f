namespace Xfn.Core.Composition;

/// <summary>A step of a pipeline could not be finished. A result of severity fatal is no such error
/// (<see cref="PipelineResult.Fatal"/>).</summary>
public sealed class PipelineException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Run"/>.</summary>
    /// <param name="message">What failed, and what to do about it.</param>
    /// <param name="innerException">The error that caused it, such as a <see cref="FunctionCallException"/>. Null, the
    /// default, for none.</param>
    public PipelineException(string message, Exception? innerException = null)
        : base(RunStage.Run, message, innerException)
    {
    }

    /// <summary>The step's name.</summary>
    public required string Step { get; init; }

    /// <summary>What the steps before it came to, and what this one required.</summary>
    public required PipelineResult Partial { get; init; }
}
