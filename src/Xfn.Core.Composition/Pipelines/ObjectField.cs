using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Pipelines;

/// <summary>A field of an object that somebody wrote, and its path for messages.</summary>
/// <param name="Value">What it holds. Null where it is missing.</param>
/// <param name="Path">Where it is: <c>spec.pipeline[0].step</c>.</param>
/// <param name="Owner">The object that it is in, for messages: <c>composition 'x'</c>.</param>
internal readonly record struct ObjectField(Value? Value, string Path, string Owner)
{
    /// <summary>Whether it holds something.</summary>
    public bool Exists => Value is { KindCase: not (Value.KindOneofCase.NullValue or Value.KindOneofCase.None) };

    /// <summary>An object as a whole.</summary>
    public static ObjectField Of(Struct root, string kind) => new(Value.ForStruct(root), "", $"{kind} '{Text(root, "metadata", "name")}'");

    /// <summary>A text somewhere in an object; empty where there is none.</summary>
    public static string Text(Struct root, params ReadOnlySpan<string> path)
    {
        Value? value = null;
        MapField<string, Value>? fields = root.Fields;
        foreach (string name in path)
        {
            if (fields is null || !fields.TryGetValue(name, out value))
                return "";
            fields = value.StructValue?.Fields;
        }

        return value is { KindCase: Value.KindOneofCase.StringValue } ? value.StringValue : "";
    }

    /// <summary>A field of this.</summary>
    public ObjectField this[string name] => new(
        Fields is { } fields && fields.TryGetValue(name, out Value? value) ? value : null, Path.Length == 0 ? name : $"{Path}.{name}", Owner);

    /// <summary>The text. Null where it is missing.</summary>
    public string? AsText() => !Exists ? null : Value!.KindCase == Value.KindOneofCase.StringValue ? Value.StringValue : throw Unexpected("a text");

    /// <summary>The text, which is not empty.</summary>
    public string Required() => AsText() is { Length: > 0 } text ? text : throw Invalid("it is missing. Give it");

    /// <summary>The object. Null where it is missing.</summary>
    public Struct? AsObject() => !Exists ? null : Value!.StructValue ?? throw Unexpected("an object");

    /// <summary>The items. None where it is missing.</summary>
    public IEnumerable<ObjectField> Items()
    {
        if (!Exists)
            yield break;
        ListValue list = Value!.ListValue ?? throw Unexpected("a list");
        for (int i = 0; i < list.Values.Count; i++)
            yield return new ObjectField(list.Values[i], $"{Path}[{i}]", Owner);
    }

    /// <summary>What is said of it.</summary>
    public InvalidRequestException Invalid(string found) => new($"cannot use field '{Path}' of {Owner}: {found}.");

    private MapField<string, Value>? Fields => !Exists ? null : Value!.StructValue?.Fields ?? throw Unexpected("an object");

    private InvalidRequestException Unexpected(string expected) => Invalid($"it is {Kind()}, expected {expected}");

    private string Kind() => Value!.KindCase switch
    {
        Value.KindOneofCase.BoolValue => "true or false",
        Value.KindOneofCase.ListValue => "a list",
        Value.KindOneofCase.NumberValue => "a number",
        Value.KindOneofCase.StringValue => "a text",
        _ => "an object",
    };
}
