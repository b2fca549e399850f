using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Pipelines;

/// <summary>Puts what a schema refers to in the place of its references.</summary>
/// <param name="document">Where that is.</param>
/// <param name="name">The schema's name, for messages.</param>
internal sealed class SchemaInliner(Struct document, string name)
{
    // A schema of a pod template has 20,000 values, 40 deep. A function in C# takes no more than 100 messages in one another.
    private const int MaxValues = 500_000, MaxDepth = 90;

    private const string Prefix = "#/components/schemas/";

    private readonly HashSet<string> _open = new(StringComparer.Ordinal);
    private int _values;

    public Struct Inline(Struct schema) => Copy(schema, 0);

    private Struct Copy(Struct from, int depth)
    {
        if (depth > MaxDepth)
            throw Invalid($"it is more than {MaxDepth} levels deep");
        if (from.Fields.TryGetValue("$ref", out Value? reference) && reference.KindCase == Value.KindOneofCase.StringValue)
            return Resolve(reference.StringValue, depth);
        var copy = new Struct();
        foreach ((string key, Value value) in from.Fields)
            copy.Fields[key] = Copy(value, depth + 1);
        return copy;
    }

    private Value Copy(Value from, int depth)
    {
        if (++_values > MaxValues)
            throw Invalid($"it has more than {MaxValues} values");
        switch (from.KindCase)
        {
            case Value.KindOneofCase.StructValue:
                return Value.ForStruct(Copy(from.StructValue, depth));
            case Value.KindOneofCase.ListValue:
                if (depth > MaxDepth)
                    throw Invalid($"it is more than {MaxDepth} levels deep");
                var list = new ListValue();
                foreach (Value item in from.ListValue.Values)
                    list.Values.Add(Copy(item, depth + 1));
                return new Value { ListValue = list };
            default:
                return from;
        }
    }

    private Struct Resolve(string reference, int depth)
    {
        string target = reference.StartsWith(Prefix, StringComparison.Ordinal) ? reference[Prefix.Length..] : throw Invalid($"its reference '{reference}' leads out of its document");
        Struct? found = document.Fields["components"].StructValue?.Fields["schemas"].StructValue is { } schemas && schemas.Fields.TryGetValue(target, out Value? value) ? value.StructValue : null;
        if (found is null)
            throw Invalid($"its reference '{reference}' leads nowhere");
        if (!_open.Add(target))
            return new Struct { Fields = { ["type"] = Value.ForString("object"), ["x-kubernetes-preserve-unknown-fields"] = Value.ForBool(true) } };
        Struct copy = Copy(found, depth + 1);
        _open.Remove(target);
        return copy;
    }

    private InvalidRequestException Invalid(string found) => new($"cannot use schema '{name}' of an OpenAPI document: {found}.");
}
