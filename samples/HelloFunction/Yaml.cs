using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace HelloFunction;

/// <summary>Reading and changing YAML nodes by field name, with errors that say what was expected where.</summary>
internal static class Yaml
{
    public static string Name(YamlNode node) => node switch
    {
        YamlMappingNode => "mapping",
        YamlSequenceNode => "sequence",
        YamlScalarNode scalar when IsNull(scalar) => "null",
        _ => "scalar",
    };

    public static YamlMappingNode Require(this YamlMappingNode parent, string field) =>
        parent.Optional(field) ?? throw Missing(parent, field);

    public static YamlMappingNode? Optional(this YamlMappingNode parent, string field) => parent.Find(field) switch
    {
        null => null,
        YamlMappingNode mapping => mapping,
        var other => throw Unexpected(field, "a mapping", other),
    };

    public static string RequireString(this YamlMappingNode parent, string field) =>
        parent.OptionalString(field) ?? throw Missing(parent, field);

    public static string? OptionalString(this YamlMappingNode parent, string field) => parent.Find(field) switch
    {
        null => null,
        YamlScalarNode { Value: { } value } => value,
        var other => throw Unexpected(field, "a string", other),
    };

    public static YamlMappingNode GetOrAddMapping(this YamlMappingNode parent, string field) =>
        parent.Optional(field) ?? parent.Put(field, new YamlMappingNode());

    public static YamlSequenceNode GetOrAddSequence(this YamlMappingNode parent, string field) => parent.Find(field) switch
    {
        null => parent.Put(field, new YamlSequenceNode()),
        YamlSequenceNode sequence => sequence,
        var other => throw Unexpected(field, "a sequence", other),
    };

    /// <summary>The element whose <c>name</c> is <paramref name="name"/>, added when there is none.</summary>
    public static YamlMappingNode GetOrAddNamed(this YamlSequenceNode sequence, string name)
    {
        if (sequence.Children.OfType<YamlMappingNode>().FirstOrDefault(element => element.Find("name") is YamlScalarNode { Value: { } n } && n == name) is { } found)
            return found;
        var added = new YamlMappingNode();
        added.Set("name", name);
        sequence.Add(added);
        return added;
    }

    /// <summary>Sets a string, quoted: a resource named "true" or "1.0" must stay a string.</summary>
    public static void Set(this YamlMappingNode parent, string field, string value) =>
        parent.Put(field, new YamlScalarNode(value) { Style = ScalarStyle.DoubleQuoted });

    // An explicit null and a missing field mean the same to whoever writes these documents.
    private static YamlNode? Find(this YamlMappingNode parent, string field) =>
        parent.Children.TryGetValue(new YamlScalarNode(field), out YamlNode? node) && !(node is YamlScalarNode scalar && IsNull(scalar)) ? node : null;

    private static T Put<T>(this YamlMappingNode parent, string field, T node)
        where T : YamlNode
    {
        parent.Children[new YamlScalarNode(field)] = node;
        return node;
    }

    private static bool IsNull(YamlScalarNode scalar) => scalar is { Style: ScalarStyle.Plain, Value: null or "" or "~" or "null" or "Null" or "NULL" };

    private static FunctionIOException Missing(YamlMappingNode parent, string field) =>
        new($"cannot find '{field}': the mapping {Where(parent)}has no such field.");

    private static FunctionIOException Unexpected(string field, string expected, YamlNode found) =>
        new($"cannot read '{field}': {Where(found)}expected {expected}, found a {Name(found)}.");

    private static string Where(YamlNode node) => node.Start.Line > 0 ? $"at line {node.Start.Line} " : "";
}
