using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>Finds the resources that functions require.</summary>
public interface IRequiredResources
{
    /// <summary>Finds resources.</summary>
    /// <param name="selector">Which.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <returns>Those that match, ordered by namespace and name. Empty where none does.</returns>
    ValueTask<IReadOnlyList<Resource>> FindAsync(ResourceSelector selector, CancellationToken cancellationToken = default);
}

/// <summary>Finds the schemas that functions require.</summary>
public interface IRequiredSchemas
{
    /// <summary>Finds a schema.</summary>
    /// <param name="selector">Of which kind.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <returns>An OpenAPI v3 schema without references. Null where there is none of the kind.</returns>
    ValueTask<Struct?> FindAsync(SchemaSelector selector, CancellationToken cancellationToken = default);
}
