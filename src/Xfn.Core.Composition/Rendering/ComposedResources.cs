using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Rendering;

/// <summary>The resources that a composite resource is composed of: those observed, and those that functions
/// want.</summary>
internal sealed class ComposedResources
{
    public const string CompositeLabel = "crossplane.io/composite";

    private const string ClaimName = "crossplane.io/claim-name", ClaimNamespace = "crossplane.io/claim-namespace";

    private readonly Struct _composite;
    private readonly Dictionary<string, Struct> _observed = [];
    private readonly List<string> _notes = [];

    /// <param name="composite">The composite resource, with a uid and the label that names it.</param>
    /// <param name="observed">The observed resources.</param>
    /// <exception cref="RenderException">One of them cannot be the composite's.</exception>
    public ComposedResources(Struct composite, IEnumerable<Struct> observed)
    {
        _composite = composite;
        foreach (Struct resource in observed)
            Observe(resource);
    }

    /// <summary>The observed resources, by their names in the composition.</summary>
    public IReadOnlyDictionary<string, Struct> Observed => _observed;

    public IReadOnlyList<string> Notes => _notes;

    private string Uid => _composite.Text("metadata", "uid");

    /// <summary>Makes the resources that functions want: with names, labels, an annotation and their owner.</summary>
    /// <param name="desired">What functions want.</param>
    /// <param name="events">Gets what is worth a report.</param>
    /// <returns>The resources, in the order of their names in the composition.</returns>
    /// <exception cref="RenderException">One of them cannot be.</exception>
    public IReadOnlyList<Struct> Compose(State desired, List<RenderEvent> events) =>
        [.. desired.Resources.OrderBy(resource => resource.Key, StringComparer.Ordinal).Select(resource => Compose(resource.Key, resource.Value.Resource_ ?? new Struct(), events))];

    /// <summary>The observed resources that functions do not want any more.</summary>
    public IReadOnlyList<Struct> NotDesired(State desired) =>
        [.. from resource in _observed.OrderBy(resource => resource.Key, StringComparer.Ordinal) where !desired.Resources.ContainsKey(resource.Key) select resource.Value];

    private void Observe(Struct resource)
    {
        if (resource.Kind().Length == 0 || resource.ApiVersion().Length == 0)
            throw Refuse(RenderFailure.Input, $"cannot use observed resource '{resource.Name()}': it has no apiVersion or no kind. Write both.");
        Struct? controller = resource.Objects("metadata", "ownerReferences").FirstOrDefault(owner => owner.Find("controller") is { HasBoolValue: true, BoolValue: true });
        if (controller is not null && controller.Text("uid") != Uid)
            throw Refuse(RenderFailure.Input, $"cannot use observed {resource.Title()}: its controller has uid '{controller.Text("uid")}', and {_composite.Title()} has '{Uid}'. Correct one of them, or leave the ownerReference out.");
        if (_composite.Namespace() is { Length: > 0 } place && resource.Namespace() != place)
            throw Refuse(RenderFailure.Input, $"cannot use observed {resource.Title()}: its namespace is '{resource.Namespace()}', and that of {_composite.Title()} is '{place}'. A namespaced resource is composed of others in its namespace.");
        string name = RenderResult.NameOf(resource);
        if (name.Length == 0)
            _notes.Add($"observed {resource.Title()} is left out: it has no annotation '{RenderResult.ResourceName}', so it is nothing of the composition's.");
        else if (!_observed.TryAdd(name, resource))
            throw Refuse(RenderFailure.Input, $"cannot use observed {resource.Title()}: {_observed[name].Title()} has the name '{name}' in the composition already. Give each another.");
    }

    private Struct Compose(string name, Struct wanted, List<RenderEvent> events)
    {
        Struct made = wanted.Clone();
        Struct metadata = made.At("metadata");
        if (made.Kind().Length == 0 || made.ApiVersion().Length == 0)
            throw Refuse(RenderFailure.Result, $"cannot compose resource '{name}': the functions gave it no apiVersion or no kind.");
        made.At("metadata", "annotations").Set(RenderResult.ResourceName, name);
        Struct labels = made.At("metadata", "labels");
        labels.Set(CompositeLabel, LabelOf(CompositeLabel));
        if (LabelOf(ClaimName).Length > 0 && LabelOf(ClaimNamespace).Length > 0)
            labels.Set(ClaimName, LabelOf(ClaimName)).Set(ClaimNamespace, LabelOf(ClaimNamespace));
        SetPlace(name, made, events);
        SetName(name, made);
        Struct owner = new Struct().Set("apiVersion", _composite.ApiVersion()).Set("kind", _composite.Kind()).Set("name", _composite.Name()).Set("uid", Uid);
        owner.Fields["controller"] = owner.Fields["blockOwnerDeletion"] = Value.ForBool(true);
        Value[] others = [.. made.Objects("metadata", "ownerReferences").Where(other => other.Text("uid") != Uid).Select(Value.ForStruct)];
        metadata.Fields["ownerReferences"] = Value.ForList([.. others, Value.ForStruct(owner)]);
        return made;
    }

    private void SetPlace(string name, Struct made, List<RenderEvent> events)
    {
        if (_composite.Namespace() is not { Length: > 0 } place)
            return;
        if (made.Namespace() is { Length: > 0 } other && other != place)
            events.Add(new("Warning", "NamespaceOverridden", $"Composed resource \"{name}\" has namespace \"{other}\", which was replaced by that of the composite resource, \"{place}\""));
        made.At("metadata").Set("namespace", place);
    }

    private void SetName(string name, Struct made)
    {
        Struct metadata = made.At("metadata");
        if (_observed.TryGetValue(name, out Struct? observed))
        {
            foreach (string field in new[] { "name", "namespace", "generateName" })
            {
                if (observed.Text("metadata", field) is { Length: > 0 } kept)
                    metadata.Set(field, kept);
            }
        }

        if (made.Name().Length == 0)
        {
            if (made.Text("metadata", "generateName").Length == 0)
                metadata.Set("generateName", $"{LabelOf(CompositeLabel)}-");
            metadata.Set("name", ResourceNames.Make(made.Text("metadata", "generateName"), Uid, name));
        }

        if (!ResourceNames.IsName(made.Name(), made.ApiVersion()))
            throw Refuse(RenderFailure.Result, $"cannot compose resource '{name}': '{made.Name()}' is no name for a {made.Kind()}. Names have small letters, digits, hyphens and dots.");
    }

    private string LabelOf(string label) => _composite.Text("metadata", "labels", label);

    private static RenderException Refuse(RenderFailure reason, string message) => new(reason, message);
}
