using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Pipelines;

/// <summary>Reads the steps that a composition has.</summary>
internal static class StepReader
{
    private const int MaxSteps = 99;

    public static IReadOnlyList<PipelineStep> Read(Struct composition)
    {
        string kind = ObjectField.Text(composition, "kind") is { Length: > 0 } named ? named.ToLowerInvariant() : "composition";
        ObjectField pipeline = ObjectField.Of(composition, kind)["spec"]["pipeline"];
        var steps = new List<PipelineStep>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (ObjectField step in pipeline.Items())
        {
            PipelineStep read = Step(step);
            if (!names.Add(read.Name))
                throw step["step"].Invalid($"another step has the name '{read.Name}' already. Give each its own");
            steps.Add(read);
        }

        return steps.Count is > 0 and <= MaxSteps ? steps : throw pipeline.Invalid($"it has {steps.Count} steps, expected 1 to {MaxSteps}");
    }

    private static PipelineStep Step(ObjectField step)
    {
        var resources = new Dictionary<string, ResourceSelector>(StringComparer.Ordinal);
        foreach (ObjectField required in step["requirements"]["requiredResources"].Items())
            Add(resources, required, Selector(required));
        var schemas = new Dictionary<string, SchemaSelector>(StringComparer.Ordinal);
        foreach (ObjectField required in step["requirements"]["requiredSchemas"].Items())
            Add(schemas, required, new SchemaSelector { ApiVersion = required["apiVersion"].Required(), Kind = required["kind"].Required() });
        return new PipelineStep
        {
            Name = step["step"].Required(),
            FunctionName = step["functionRef"]["name"].Required(),
            Input = step["input"].AsObject(),
            Credentials = [.. step["credentials"].Items().Select(Credentials).OfType<StepCredentials>()],
            RequiredResources = resources,
            RequiredSchemas = schemas,
        };
    }

    private static void Add<T>(Dictionary<string, T> requirements, ObjectField required, T selector)
    {
        if (!requirements.TryAdd(required["requirementName"].Required(), selector))
            throw required["requirementName"].Invalid("another requirement of the step has that name already. Give each its own");
    }

    private static StepCredentials? Credentials(ObjectField credentials) => credentials["source"].Required() switch
    {
        "None" => null,
        "Secret" => new StepCredentials(credentials["name"].Required(), credentials["secretRef"]["namespace"].Required(), credentials["secretRef"]["name"].Required()),
        var other => throw credentials["source"].Invalid($"it is '{other}', expected None or Secret"),
    };

    private static ResourceSelector Selector(ObjectField required)
    {
        var selector = new ResourceSelector { ApiVersion = required["apiVersion"].Required(), Kind = required["kind"].Required() };
        if (required["namespace"].AsText() is { Length: > 0 } @namespace)
            selector.Namespace = @namespace;
        string? name = required["name"].AsText();
        Struct? labels = required["matchLabels"].AsObject();
        if (name is { Length: > 0 } && labels is not null)
            throw required["name"].Invalid("there is matchLabels too, and either selects. Leave one out");
        if (name is { Length: > 0 })
            selector.MatchName = name;
        else if (labels is not null)
            selector.MatchLabels = new MatchLabels { Labels = { labels.Fields.Keys.ToDictionary(key => key, key => required["matchLabels"][key].AsText() ?? "") } };
        return selector;
    }
}
