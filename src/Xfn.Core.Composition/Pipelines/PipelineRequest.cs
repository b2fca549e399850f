using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>What a pipeline is run with.</summary>
public sealed record PipelineRequest
{
    /// <summary>The steps, in their order.</summary>
    public required IReadOnlyList<PipelineStep> Steps { get; init; }

    /// <summary>The functions, by the names that the steps have for them.</summary>
    public required IReadOnlyDictionary<string, ICompositionFunction> Functions { get; init; }

    /// <summary>What there is: the composite resource, and the composed resources by their names in the pipeline. Each
    /// step sees the same.</summary>
    public required State Observed { get; init; }

    /// <summary>What is desired before the first step. Nothing by default.</summary>
    public State Desired { get; init => field = value ?? new(); } = new();

    /// <summary>The context of the first step. Null, the default, for none.</summary>
    public Struct? Context { get; init; }

    /// <summary>Where required resources are found. There are none by default.</summary>
    public IRequiredResources RequiredResources { get; init => field = value ?? new InMemoryResources([]); } = new InMemoryResources([]);

    /// <summary>Where required schemas are found. There are none by default.</summary>
    public IRequiredSchemas RequiredSchemas { get; init => field = value ?? new OpenApiSchemas([]); } = new OpenApiSchemas([]);

    /// <summary>The secrets that steps have as credentials: objects of kind <c>Secret</c>. None by default.</summary>
    public IReadOnlyList<Struct> Secrets { get; init => field = value ?? []; } = [];
}
