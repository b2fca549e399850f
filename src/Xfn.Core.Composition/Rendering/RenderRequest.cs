using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Rendering;

/// <summary>What an engine renders, checked.</summary>
internal sealed record RenderRequest
{
    /// <summary>The composite resource, with defaults set.</summary>
    public required Struct Composite { get; init; }

    public required Struct Composition { get; init; }

    /// <summary>The functions, those that the options give before those that were started.</summary>
    public required IReadOnlyDictionary<string, ICompositionFunction> Functions { get; init; }

    /// <summary>Those that were started.</summary>
    public required IReadOnlyList<CompositionFunctions> Started { get; init; }

    /// <summary>What starts containers.</summary>
    public required Func<IContainerHost> Host { get; init; }

    public required RenderOptions Options { get; init; }

    /// <summary>Whether the composite resource keeps Crossplane's fields in spec, as before version 2.</summary>
    public required bool IsLegacy { get; init; }
}
