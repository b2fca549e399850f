using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Rendering;

/// <summary>Runs the pipeline, and makes of its result what one reconciliation of Crossplane would.</summary>
internal sealed class BuiltInEngine : RenderEngine
{
    private const string DefaultReason = "ComposeResources";

    internal override async Task<RenderResult> RenderAsync(RenderRequest request, CancellationToken cancellationToken)
    {
        Struct composite = request.Composite.Clone();
        Struct metadata = composite.At("metadata");
        if (composite.Text("metadata", "uid").Length == 0)
            metadata.Set("uid", ResourceNames.MakeUid(composite));
        metadata.Set("resourceVersion", "999");
        Struct labels = composite.At("metadata", "labels");
        if (composite.Text("metadata", "labels", ComposedResources.CompositeLabel).Length == 0)
            labels.Set(ComposedResources.CompositeLabel, composite.Name());
        var resources = new ComposedResources(composite, request.Options.ObservedResources);
        if (resources.Observed.Count > 0)
            SetReferences(composite, resources.Observed.Values, request.IsLegacy);

        PipelineResult pipeline = await RunAsync(request, composite, resources, cancellationToken).ConfigureAwait(false);
        var events = new List<RenderEvent> { new("Normal", "SelectComposition", $"Successfully selected composition: {request.Composition.Name()}") };
        events.AddRange(pipeline.Results.Where(result => result.Result.Severity != Severity.Fatal).Select(Report));
        if (pipeline.Fatal is { } fatal)
        {
            string message = $"pipeline step \"{fatal.Step}\" returned a fatal result: {fatal.Result.Message}";
            events.Add(new("Warning", DefaultReason, $"cannot compose resources: {message}"));
            throw new RenderException(RenderFailure.Fatal, $"cannot render {request.Composite.Title()}: {message}") { Partial = Result(request, pipeline, new Struct(), [], [], events, resources.Notes) };
        }

        IReadOnlyList<Struct> composed = resources.Compose(pipeline.Desired, events);
        string[] unready = [.. pipeline.Desired.Resources.Where(resource => resource.Value.Ready != Protocol.Ready.True).Select(resource => resource.Key).Order(StringComparer.Ordinal)];
        events.AddRange(unready.Select(name => new RenderEvent("Normal", DefaultReason, $"Composed resource \"{name}\" is not yet ready")));
        Struct result = Outcome(composite, pipeline, unready);
        SetReferences(result, composed, request.IsLegacy);
        return Result(request, pipeline, result, composed, resources.NotDesired(pipeline.Desired), events, resources.Notes);
    }

    private static async Task<PipelineResult> RunAsync(RenderRequest request, Struct composite, ComposedResources resources, CancellationToken cancellationToken)
    {
        var observed = new State { Composite = new Resource { Resource_ = composite } };
        foreach ((string name, Struct resource) in resources.Observed)
            observed.Resources.Add(name, new Resource { Resource_ = resource });
        return await Pipeline.RunAsync(
            new PipelineRequest
            {
                Steps = PipelineStep.FromComposition(request.Composition),
                Functions = request.Functions,
                Observed = observed,
                Context = request.Options.Context,
                RequiredResources = new InMemoryResources(request.Options.RequiredResources),
                RequiredSchemas = new OpenApiSchemas(request.Options.RequiredSchemas),
                Secrets = request.Options.Credentials,
            },
            cancellationToken).ConfigureAwait(false);
    }

    /// <summary>What is set in the composite resource: status, and conditions in the order in which they come to be.</summary>
    private static Struct Outcome(Struct composite, PipelineResult pipeline, string[] unready)
    {
        Struct result = new Struct().Set("apiVersion", composite.ApiVersion()).Set("kind", composite.Kind());
        result.At("metadata").Set("name", composite.Name()).Set("namespace", composite.Namespace());
        if (pipeline.Desired.Composite?.Resource_?.Find("status")?.StructValue is { } status)
            result.At("status").Merge(status);
        bool isReady = pipeline.Desired.Composite?.Ready switch
        {
            Protocol.Ready.True => true,
            Protocol.Ready.False => false,
            _ => unready.Length == 0,
        };
        var conditions = new List<Struct> { CompositeConditions.Make("Responsive", "True", "WatchCircuitClosed") };

        // Of those of one type the last holds, in its place.
        conditions.AddRange(pipeline.Conditions.Reverse().DistinctBy(condition => condition.Type).Where(condition => !CompositeConditions.IsSystem(condition.Type)).Reverse()
            .Select(condition => CompositeConditions.Make(condition.Type, CompositeConditions.Text(condition.Status), condition.Reason, condition.Message)));
        conditions.Add(CompositeConditions.Make("Synced", "True", "ReconcileSuccess"));
        conditions.Add(isReady ? CompositeConditions.Make("Ready", "True", "Available") : CompositeConditions.Make("Ready", "False", "Creating", CompositeConditions.Unready(unready)));
        result.At("status").Fields["conditions"] = Value.ForList([.. conditions.Select(Value.ForStruct)]);
        return result;
    }

    private static RenderEvent Report(StepResult it)
    {
        string reason = it.Result.HasReason && it.Result.Reason.Length > 0 ? it.Result.Reason : DefaultReason;
        string message = $"Pipeline step \"{it.Step}\": {it.Result.Message}";
        return it.Result.Severity switch
        {
            Severity.Normal => new("Normal", reason, message),
            Severity.Warning => new("Warning", reason, message),
            _ => new("Warning", reason, $"Pipeline step \"{it.Step}\" returned a result of unknown severity (assuming warning): {it.Result.Message}"),
        };
    }

    private static RenderResult Result(
        RenderRequest request, PipelineResult pipeline, Struct composite, IReadOnlyList<Struct> composed, IReadOnlyList<Struct> deleted, IReadOnlyList<RenderEvent> events, IReadOnlyList<string> notes) => new()
    {
        Input = request.Composite,
        Composite = RenderResult.FixTimes(composite),
        Resources = [.. composed.Select(RenderResult.FixTimes)],
        Deleted = deleted,
        Events = events,
        Context = pipeline.Context ?? new Struct(),
        RequiredResources = [.. pipeline.RequiredResources.Select(Selector)],
        RequiredSchemas = [.. pipeline.RequiredSchemas.Select(it => new Struct().Set("apiVersion", it.ApiVersion).Set("kind", it.Kind))],
        Notes = notes,
        Output = request.Options.Output,
    };

    /// <summary>A selector in the words that Crossplane's engine has for it.</summary>
    private static Struct Selector(ResourceSelector it)
    {
        Struct selector = new Struct().Set("apiVersion", it.ApiVersion).Set("kind", it.Kind).Set("matchName", it.MatchName).Set("namespace", it.Namespace);
        foreach ((string label, string value) in it.MatchLabels?.Labels ?? [])
            selector.At("matchLabels", "labels").Fields[label] = Value.ForString(value);
        return selector;
    }

    /// <summary>Notes in a composite resource what it is composed of.</summary>
    private static void SetReferences(Struct composite, IEnumerable<Struct> resources, bool isLegacy)
    {
        bool isNamespaced = composite.Namespace().Length > 0;
        IEnumerable<Struct> references =
            from resource in resources.OrderBy(resource => resource.ApiVersion() + resource.Kind() + resource.Name(), StringComparer.Ordinal)
            select new Struct().Set("apiVersion", resource.ApiVersion()).Set("kind", resource.Kind()).Set("name", resource.Name()).Set("namespace", isNamespaced ? "" : resource.Namespace());
        Struct holder = isLegacy ? composite.At("spec") : composite.At("spec", "crossplane");
        holder.Fields["resourceRefs"] = Value.ForList([.. references.Select(Value.ForStruct)]);
    }
}
