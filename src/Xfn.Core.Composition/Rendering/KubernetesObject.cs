using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Rendering;

/// <summary>The fields that objects of Kubernetes have in common, of a <see cref="Struct"/>.</summary>
internal static class KubernetesObject
{
    public static string ApiVersion(this Struct it) => it.Text("apiVersion");

    public static string Kind(this Struct it) => it.Text("kind");

    public static string Name(this Struct it) => it.Text("metadata", "name");

    public static string Namespace(this Struct it) => it.Text("metadata", "namespace");

    /// <summary>What a message calls it: <c>Bucket 'team/data'</c>.</summary>
    public static string Title(this Struct it) => $"{it.Kind()} '{(it.Namespace() is { Length: > 0 } place ? $"{place}/" : "")}{it.Name()}'";

    /// <summary>The group of an API version; empty for the core's.</summary>
    public static string GroupOf(string apiVersion) => apiVersion.LastIndexOf('/') is >= 0 and var slash ? apiVersion[..slash] : "";

    public static string VersionOf(string apiVersion) => apiVersion[(apiVersion.LastIndexOf('/') + 1)..];

    /// <summary>A field of fields of maps; null where there is none.</summary>
    public static Value? Find(this Struct it, params ReadOnlySpan<string> path)
    {
        Value? found = null;
        foreach (string name in path)
        {
            if (it is null || !it.Fields.TryGetValue(name, out found))
                return null;
            it = found.StructValue;
        }

        return found;
    }

    /// <summary>The same, as text; empty where there is none.</summary>
    public static string Text(this Struct it, params ReadOnlySpan<string> path) => it.Find(path) is { HasStringValue: true } found ? found.StringValue : "";

    /// <summary>The same, as the strings of a map; empty where there is none.</summary>
    public static IEnumerable<KeyValuePair<string, string>> Texts(this Struct it, params ReadOnlySpan<string> path) =>
        from field in it.Find(path)?.StructValue?.Fields ?? []
        where field.Value.HasStringValue
        select KeyValuePair.Create(field.Key, field.Value.StringValue);

    /// <summary>The same, as the maps of a list; empty where there is none.</summary>
    public static IEnumerable<Struct> Objects(this Struct it, params ReadOnlySpan<string> path) =>
        from item in it.Find(path)?.ListValue?.Values ?? []
        where item.KindCase == Value.KindOneofCase.StructValue
        select item.StructValue;

    /// <summary>A field that is a map, made where there is none.</summary>
    public static Struct At(this Struct it, params ReadOnlySpan<string> path)
    {
        foreach (string name in path)
        {
            if (!it.Fields.TryGetValue(name, out Value? found) || found.KindCase != Value.KindOneofCase.StructValue)
                it.Fields[name] = found = Value.ForStruct(new Struct());
            it = found.StructValue;
        }

        return it;
    }

    /// <summary>Sets a text, or leaves the field away where it is empty.</summary>
    /// <returns>The map.</returns>
    public static Struct Set(this Struct it, string name, string value)
    {
        if (value.Length > 0)
            it.Fields[name] = Value.ForString(value);
        else
            it.Fields.Remove(name);
        return it;
    }

    /// <summary>Puts all of another map into this one, map by map. What is no map is replaced.</summary>
    /// <returns>This one.</returns>
    public static Struct Merge(this Struct it, Struct other)
    {
        foreach ((string name, Value value) in other.Fields)
        {
            if (value.KindCase == Value.KindOneofCase.StructValue && it.Fields.TryGetValue(name, out Value? mine) && mine.KindCase == Value.KindOneofCase.StructValue)
                mine.StructValue.Merge(value.StructValue);
            else
                it.Fields[name] = value.Clone();
        }

        return it;
    }
}
