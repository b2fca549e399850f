using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Pipelines;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>A step of a pipeline: a function, and what it is given besides.</summary>
public sealed record PipelineStep
{
    /// <summary>The step's name.</summary>
    public required string Name { get; init; }

    /// <summary>The function's name, by which <see cref="PipelineRequest.Functions"/> has it.</summary>
    public required string FunctionName { get; init; }

    /// <summary>The function's input. Null, the default, for none.</summary>
    public Struct? Input { get; init; }

    /// <summary>The secrets that the function is given. None by default.</summary>
    public IReadOnlyList<StepCredentials> Credentials { get; init => field = value ?? []; } = [];

    /// <summary>Resources that the function is given at its first call already, by the names of the requirements. None by
    /// default.</summary>
    public IReadOnlyDictionary<string, ResourceSelector> RequiredResources { get; init => field = value ?? new Dictionary<string, ResourceSelector>(); } =
        new Dictionary<string, ResourceSelector>();

    /// <summary>Schemas, likewise. None by default.</summary>
    public IReadOnlyDictionary<string, SchemaSelector> RequiredSchemas { get; init => field = value ?? new Dictionary<string, SchemaSelector>(); } =
        new Dictionary<string, SchemaSelector>();

    /// <summary>Reads the steps of a composition, or of an operation: its <c>spec.pipeline</c>.</summary>
    /// <param name="composition">The object.</param>
    /// <exception cref="InvalidRequestException">A step has no name or function, or another's name; or a field is of
    /// another kind than it should be. The message names it.</exception>
    public static IReadOnlyList<PipelineStep> FromComposition(Struct composition)
    {
        ArgumentNullException.ThrowIfNull(composition);
        return StepReader.Read(composition);
    }
}

/// <summary>A secret that a step's function is given.</summary>
/// <param name="Name">The name by which the function knows it.</param>
/// <param name="SecretNamespace">The secret's namespace.</param>
/// <param name="SecretName">The secret's name.</param>
public sealed record StepCredentials(string Name, string SecretNamespace, string SecretName);
