using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Pipelines;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>Resources that are given as objects.</summary>
/// <remarks>A resource matches that has the selector's <c>apiVersion</c> and <c>kind</c>, and its name, all of its labels,
/// or anything where it has neither. With a namespace it is in that; a name without one is that of a resource without a
/// namespace.</remarks>
public sealed class InMemoryResources : IRequiredResources
{
    private readonly ILookup<(string ApiVersion, string Kind), Known> _resources;

    /// <summary>Takes objects.</summary>
    /// <param name="objects">The objects, which are not to be changed any more.</param>
    /// <exception cref="InvalidRequestException">One has no <c>apiVersion</c>, <c>kind</c> or name.</exception>
    public InMemoryResources(IEnumerable<Struct> objects)
    {
        ArgumentNullException.ThrowIfNull(objects);
        _resources = objects.Select(Known.Of).OrderBy(r => r.Namespace, StringComparer.Ordinal).ThenBy(r => r.Name, StringComparer.Ordinal).ToLookup(r => (r.ApiVersion, r.Kind));
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<Resource>> FindAsync(ResourceSelector selector, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(selector);
        IEnumerable<Known> ofKind = _resources[(selector.ApiVersion, selector.Kind)];
        IEnumerable<Known> matching = selector.MatchCase switch
        {
            ResourceSelector.MatchOneofCase.MatchName => ofKind.Where(r => r.Name == selector.MatchName && r.Namespace == (selector.HasNamespace ? selector.Namespace : "")),
            _ => ofKind.Where(r => (!selector.HasNamespace || r.Namespace == selector.Namespace) && r.HasLabels(selector.MatchLabels)),
        };
        return ValueTask.FromResult<IReadOnlyList<Resource>>([.. matching.Select(r => r.Resource)]);
    }

    private sealed record Known(string ApiVersion, string Kind, string Namespace, string Name, Resource Resource)
    {
        public static Known Of(Struct resource)
        {
            ObjectField whole = ObjectField.Of(resource, "resource");
            return new Known(whole["apiVersion"].Required(), whole["kind"].Required(), whole["metadata"]["namespace"].AsText() ?? "", whole["metadata"]["name"].Required(), new Resource { Resource_ = resource });
        }

        public bool HasLabels(MatchLabels? labels) => labels is null || labels.Labels.All(label => Label(label.Key) == label.Value);

        private string? Label(string key) =>
            Resource.Resource_.Fields["metadata"].StructValue.Fields.TryGetValue("labels", out Value? labels) && labels.StructValue is { } map && map.Fields.TryGetValue(key, out Value? value)
            && value.KindCase == Value.KindOneofCase.StringValue ? value.StringValue : null;
    }
}
