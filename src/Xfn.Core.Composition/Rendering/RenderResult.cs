using System.Text;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Rendering;

namespace Xfn.Core.Composition;

/// <summary>What a render has made.</summary>
public sealed record RenderResult
{
    internal const string ResultsVersion = "render.crossplane.io/v1beta1", ResourceName = "crossplane.io/composition-resource-name";

    private const string FixedTime = "2024-01-01T00:00:00Z";

    /// <summary>The composite resource as it came, with defaults set.</summary>
    public required Struct Input { get; init; }

    /// <summary>What the render sets in the composite resource: its references and its status. Empty where a step was
    /// fatal.</summary>
    public required Struct Composite { get; init; }

    /// <summary>The composed resources, in the order of their names in the composition.</summary>
    public required IReadOnlyList<Struct> Resources { get; init; }

    /// <summary>The observed resources that no function wants any more.</summary>
    public required IReadOnlyList<Struct> Deleted { get; init; }

    /// <summary>What functions and the engine report, in that order in which it came.</summary>
    public required IReadOnlyList<RenderEvent> Events { get; init; }

    /// <summary>The context that the last step returned; empty for none.</summary>
    public required Struct Context { get; init; }

    /// <summary>The resources that functions asked for: selectors with apiVersion and kind.</summary>
    public IReadOnlyList<Struct> RequiredResources { get; init; } = [];

    /// <summary>The schemas that functions asked for, likewise.</summary>
    public IReadOnlyList<Struct> RequiredSchemas { get; init; } = [];

    /// <summary>What was accepted and has no effect, each a sentence.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>What <see cref="ToString"/> prints besides the resources.</summary>
    public RenderOutput Output { get; init; }

    /// <summary>A composed resource, by its name in the composition.</summary>
    /// <exception cref="KeyNotFoundException">There is none.</exception>
    public Struct this[string name] => Resources.FirstOrDefault(resource => NameOf(resource) == name)
        ?? throw new KeyNotFoundException($"cannot find composed resource '{name}': there are {(Resources.Count == 0 ? "none" : string.Join(", ", Resources.Select(resource => $"'{NameOf(resource)}'")))}.");

    /// <summary>Prints it as Crossplane's own command does: documents, each behind a line of three dashes.</summary>
    /// <param name="output">What besides the resources.</param>
    public string ToYaml(RenderOutput output)
    {
        var documents = new List<Struct>();
        if (Composite.Fields.Count > 0)
            documents.Add(output.HasFlag(RenderOutput.FullComposite) ? Input.Clone().Merge(Composite) : Composite);
        documents.AddRange(Resources);
        if (output.HasFlag(RenderOutput.Results))
            documents.AddRange(Events.Select(Document));
        if (output.HasFlag(RenderOutput.Context))
            documents.Add(Header("Context", new() { Fields = { ["fields"] = Value.ForStruct(Context) } }));
        var text = new StringBuilder();
        foreach (Struct document in documents)
            text.Append("---\n").Append(CompositionObjects.ToYaml(document));
        return text.ToString();
    }

    /// <summary>The same, with what <see cref="Output"/> says.</summary>
    public override string ToString() => ToYaml(Output);

    internal static string NameOf(Struct resource) => resource.Text("metadata", "annotations", ResourceName);

    /// <summary>Sets the times of conditions, which would be others each time.</summary>
    internal static Struct FixTimes(Struct it)
    {
        foreach (Struct condition in it.Objects("status", "conditions"))
        {
            if (condition.Fields.ContainsKey("lastTransitionTime"))
                condition.Set("lastTransitionTime", FixedTime);
        }

        return it;
    }

    private static Struct Document(RenderEvent it) => Header("Result", new Struct().Set("severity", it.Type).Set("reason", it.Reason).Set("message", it.Message));

    private static Struct Header(string kind, Struct it) => it.Set("apiVersion", ResultsVersion).Set("kind", kind);
}

/// <summary>What a function, or the engine, reports.</summary>
/// <param name="Type"><c>Normal</c> or <c>Warning</c>.</param>
/// <param name="Reason">One word: <c>ComposeResources</c>.</param>
/// <param name="Message">The report.</param>
public sealed record RenderEvent(string Type, string Reason, string Message);
