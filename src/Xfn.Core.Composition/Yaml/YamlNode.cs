using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Yaml;

/// <summary>What a node of a YAML document is, after its text was understood.</summary>
internal enum YamlKind
{
    Null,
    Boolean,
    Number,
    String,
    List,
    Map,
}

/// <summary>A node of a YAML document, which knows where it stands.</summary>
internal sealed class YamlNode
{
    private static readonly Dictionary<string, YamlNode> NoFields = [];

    public required YamlKind Kind { get; init; }

    /// <summary>The line on which it begins, from 1.</summary>
    public required int Line { get; init; }

    public bool Boolean { get; init; }

    public double Number { get; init; }

    /// <summary>A string's text; null for all else.</summary>
    public string? Text { get; init; }

    /// <summary>A list's items; empty for all else.</summary>
    public IReadOnlyList<YamlNode> Items { get; init; } = [];

    /// <summary>A map's fields, in the document's order; empty for all else.</summary>
    public IReadOnlyDictionary<string, YamlNode> Fields { get; init; } = NoFields;

    /// <summary>How many nodes it has, itself included, with those behind aliases counted each time.</summary>
    public long Count { get; init; } = 1;

    /// <summary>How many nodes there are on the longest way down, itself included.</summary>
    public int Height { get; init; } = 1;

    /// <summary>A field of a map; null where there is none.</summary>
    public YamlNode? this[string field] => Fields.GetValueOrDefault(field);

    public Value ToValue() => Kind switch
    {
        YamlKind.Null => Value.ForNull(),
        YamlKind.Boolean => Value.ForBool(Boolean),
        YamlKind.Number => Value.ForNumber(Number),
        YamlKind.String => Value.ForString(Text),
        YamlKind.List => new Value { ListValue = new ListValue { Values = { Items.Select(item => item.ToValue()) } } },
        _ => Value.ForStruct(ToStruct()),
    };

    /// <summary>A map as an object.</summary>
    public Struct ToStruct()
    {
        var made = new Struct();
        foreach ((string name, YamlNode field) in Fields)
            made.Fields.Add(name, field.ToValue());
        return made;
    }
}
