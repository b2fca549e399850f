using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition;

/// <summary>What a render gets besides its three files (<see cref="Composition.RenderAsync(string, string, string?,
/// RenderOptions?, CancellationToken)"/>).</summary>
public sealed record RenderOptions
{
    /// <summary>What starts the functions' containers. Null, the default, for a runner of the render's own, which keeps
    /// images where all runners of this user do.</summary>
    public IContainerHost? Host { get; init; }

    /// <summary>Functions that are code of this process, or reached in some other way, by the name that the composition
    /// has for them. They win over all others. None by default.</summary>
    public IReadOnlyDictionary<string, ICompositionFunction> Functions { get; init => field = value ?? EmptyFunctions; } = EmptyFunctions;

    /// <summary>Functions that were started before, for many renders. They win over what the functions' file says, and
    /// are not disposed. None by default.</summary>
    public CompositionFunctions? Started { get; init; }

    /// <summary>Annotations for all functions, besides those of the file and before them
    /// (<c>render.crossplane.io/…</c>). None by default.</summary>
    public IReadOnlyDictionary<string, string> FunctionAnnotations { get; init => field = value ?? EmptyTexts; } = EmptyTexts;

    /// <summary>The composed resources that there are already. Each has the annotation
    /// <c>crossplane.io/composition-resource-name</c>. None by default.</summary>
    public IReadOnlyList<Struct> ObservedResources { get; init => field = value ?? []; } = [];

    /// <summary>Resources that functions may ask for. None by default.</summary>
    public IReadOnlyList<Struct> RequiredResources { get; init => field = value ?? []; } = [];

    /// <summary>OpenAPI documents with the schemas that functions may ask for. None by default.</summary>
    public IReadOnlyList<Struct> RequiredSchemas { get; init => field = value ?? []; } = [];

    /// <summary>The Secrets that the composition's steps name as credentials. None by default.</summary>
    public IReadOnlyList<Struct> Credentials { get; init => field = value ?? []; } = [];

    /// <summary>The context that the first step gets. None by default.</summary>
    public Struct? Context { get; init; }

    /// <summary>The CompositeResourceDefinition: its defaults are set in the composite resource, and its scope says where
    /// that keeps Crossplane's own fields. None by default.</summary>
    public Struct? Definition { get; init; }

    /// <summary>How long the render may take, with the start of its functions. 1 minute by default; more than 0, at most
    /// 1 day.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>What computes the result. <see cref="RenderEngine.BuiltIn"/> by default.</summary>
    public RenderEngine Engine { get; init => field = value ?? RenderEngine.BuiltIn; } = RenderEngine.BuiltIn;

    /// <summary>What the result prints besides the resources: <see cref="RenderResult.ToString"/>, and the golden file.
    /// Nothing by default.</summary>
    public RenderOutput Output { get; init; }

    /// <summary>A file with the output as it must be. Where there is none it is written; else the output is compared with
    /// it, and a difference is a <see cref="RenderException"/> that shows it. It is written anew while the environment
    /// has <c>XFN_UPDATE_GOLDEN=1</c>. With <c>CI</c> in the environment a missing file is an error. Null, the default,
    /// for none.</summary>
    public string? GoldenFile { get; init; }

    /// <summary>The Composition as it was read from its file, for the lines in messages. Null where it was not.</summary>
    internal YamlNode? CompositionFile { get; init; }

    private static IReadOnlyDictionary<string, ICompositionFunction> EmptyFunctions { get; } = new Dictionary<string, ICompositionFunction>();

    private static IReadOnlyDictionary<string, string> EmptyTexts { get; } = new Dictionary<string, string>();
}

/// <summary>What a render prints besides the composite resource and those that it is composed of.</summary>
[Flags]
public enum RenderOutput
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>All of the composite resource, as it came and with the result in it; not only what the result
    /// sets.</summary>
    FullComposite = 1,

    /// <summary>What functions and the engine report.</summary>
    Results = 2,

    /// <summary>The context that the last step returned.</summary>
    Context = 4,
}
