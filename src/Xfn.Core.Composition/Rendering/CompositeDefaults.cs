using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Rendering;

/// <summary>Sets the defaults that a definition's schema has, as the API server does.</summary>
internal static class CompositeDefaults
{
    /// <summary>Sets those of a CompositeResourceDefinition in a composite resource.</summary>
    /// <exception cref="RenderException">The definition is of something else.</exception>
    public static void Set(Struct composite, Struct definition)
    {
        if (definition.Kind() != "CompositeResourceDefinition")
            throw Refuse($"expected kind CompositeResourceDefinition, got '{definition.Kind()}'");
        (string group, string version) = (KubernetesObject.GroupOf(composite.ApiVersion()), KubernetesObject.VersionOf(composite.ApiVersion()));
        if (definition.Text("spec", "group") != group || definition.Text("spec", "names", "kind") != composite.Kind())
            throw Refuse($"it defines {definition.Text("spec", "names", "kind")} of '{definition.Text("spec", "group")}', and the resource is a {composite.Kind()} of '{group}'");
        Struct found = definition.Objects("spec", "versions").FirstOrDefault(candidate => candidate.Text("name") == version)
            ?? throw Refuse($"it has no version '{version}', which the resource has");
        if (found.Find("schema", "openAPIV3Schema")?.StructValue is { } schema)
            Fill(composite, schema);

        RenderException Refuse(string found) => new(RenderFailure.Input, $"cannot use definition '{definition.Name()}' for {composite.Title()}: {found}.");
    }

    private static void Fill(Value value, Struct schema)
    {
        if (value.KindCase == Value.KindOneofCase.StructValue)
            Fill(value.StructValue, schema);
        else if (value.KindCase == Value.KindOneofCase.ListValue && schema.Find("items")?.StructValue is { } item)
            value.ListValue.Values.ToList().ForEach(each => Fill(each, item));
    }

    private static void Fill(Struct map, Struct schema)
    {
        Struct? properties = schema.Find("properties")?.StructValue;
        foreach ((string name, Value value) in properties?.Fields ?? [])
        {
            if (value.StructValue is not { } property)
                continue;
            bool isNull = map.Fields.TryGetValue(name, out Value? field) && field.KindCase == Value.KindOneofCase.NullValue;
            bool isNullable = property.Find("nullable") is { HasBoolValue: true, BoolValue: true };
            if (property.Fields.TryGetValue("default", out Value? initial) && (field is null || (isNull && !isNullable)))
                map.Fields[name] = field = initial.Clone();
            if (field is not null)
                Fill(field, property);
        }

        if (schema.Find("additionalProperties")?.StructValue is { } other)
        {
            foreach ((_, Value value) in map.Fields.Where(field => properties?.Fields.ContainsKey(field.Key) != true))
                Fill(value, other);
        }
    }
}
