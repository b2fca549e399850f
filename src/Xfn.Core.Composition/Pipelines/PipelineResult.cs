using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>What became of a pipeline.</summary>
public sealed class PipelineResult
{
    /// <summary>What is desired now. Where a step was fatal, what the steps before it desired.</summary>
    public required State Desired { get; init; }

    /// <summary>The context that the last step passed on. Null for none.</summary>
    public Struct? Context { get; init; }

    /// <summary>What the functions had to say, in the order of the steps.</summary>
    public required IReadOnlyList<StepResult> Results { get; init; }

    /// <summary>The conditions that the functions gave the composite resource, in the order of the steps.</summary>
    public required IReadOnlyList<Condition> Conditions { get; init; }

    /// <summary>What functions of an operation found, by the names of their steps.</summary>
    public required IReadOnlyDictionary<string, Struct> Outputs { get; init; }

    /// <summary>The resources that functions required, each selector once.</summary>
    public required IReadOnlyList<ResourceSelector> RequiredResources { get; init; }

    /// <summary>The schemas that functions required, each selector once.</summary>
    public required IReadOnlyList<SchemaSelector> RequiredSchemas { get; init; }

    /// <summary>The result of severity fatal that ended the pipeline. Null where none did.</summary>
    public StepResult? Fatal { get; init; }

    /// <summary>How long all answers may be used again: the shortest time that a function gave. Null where none gave
    /// any.</summary>
    public TimeSpan? Ttl { get; init; }

    /// <summary>How many calls were made.</summary>
    public int Calls { get; init; }
}

/// <summary>What the function of a step had to say.</summary>
/// <param name="Step">The step's name.</param>
/// <param name="Result">What it said.</param>
public sealed record StepResult(string Step, Result Result);
