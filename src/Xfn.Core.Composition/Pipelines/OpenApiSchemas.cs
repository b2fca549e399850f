using System.Collections.Concurrent;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Pipelines;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>Schemas in OpenAPI v3 documents, as an API server gives them for a group and version
/// (<c>/openapi/v3/apis/GROUP/VERSION</c>).</summary>
/// <remarks>A schema is of the kinds that its <c>x-kubernetes-group-version-kind</c> names. What it refers to is put in its
/// place; what refers to itself is an object of any fields there.</remarks>
public sealed class OpenApiSchemas : IRequiredSchemas
{
    private readonly Dictionary<(string ApiVersion, string Kind), (Struct Schema, Struct Document)> _schemas = [];
    private readonly ConcurrentDictionary<(string ApiVersion, string Kind), Struct> _inlined = new();

    /// <summary>Takes documents.</summary>
    /// <param name="documents">The documents, which are not to be changed any more. Of two schemas of a kind the first is
    /// taken.</param>
    /// <exception cref="InvalidRequestException">A field is of another kind than it should be. The message names
    /// it.</exception>
    public OpenApiSchemas(IEnumerable<Struct> documents)
    {
        ArgumentNullException.ThrowIfNull(documents);
        foreach (Struct document in documents)
        {
            ObjectField schemas = new ObjectField(Value.ForStruct(document), "", "OpenAPI document")["components"]["schemas"];
            foreach (string name in schemas.AsObject()?.Fields.Keys ?? (IEnumerable<string>)[])
            {
                ObjectField schema = schemas[name];
                foreach (ObjectField kind in schema["x-kubernetes-group-version-kind"].Items())
                {
                    string version = kind["version"].AsText() ?? "";
                    string apiVersion = kind["group"].AsText() is { Length: > 0 } group ? $"{group}/{version}" : version;
                    _schemas.TryAdd((apiVersion, kind["kind"].AsText() ?? ""), (schema.AsObject()!, document));
                }
            }
        }
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidRequestException">It refers to what is not there; or what it refers to is too
    /// much.</exception>
    public ValueTask<Struct?> FindAsync(SchemaSelector selector, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(selector);
        (string, string) key = (selector.ApiVersion, selector.Kind);
        return ValueTask.FromResult<Struct?>(!_schemas.TryGetValue(key, out (Struct Schema, Struct Document) found) ? null
            : _inlined.GetOrAdd(key, _ => new SchemaInliner(found.Document, $"{selector.ApiVersion}, {selector.Kind}").Inline(found.Schema)));
    }
}
