using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Functions;

namespace Xfn.Core.Composition;

/// <summary>Turns the objects of a request or an answer (<see cref="Struct"/>) into JSON or a type of one's own, and
/// back. Nothing here takes reflection.</summary>
/// <remarks>Every number of a <see cref="Struct"/> is a <see cref="double"/>. A whole number of up to 53 bits comes out as
/// one (<c>3</c>, not <c>3.0</c>). What a double cannot hold is refused: send it as a string.</remarks>
public static class StructConversion
{
    /// <summary>More than a message may have: <see cref="FunctionMethods"/>.</summary>
    private const int MaxDepth = 128;

    private static readonly JsonDocumentOptions Deep = new() { MaxDepth = MaxDepth };

    /// <summary>The whole numbers up to here are all doubles.</summary>
    private const double MaxWhole = 1L << 53;

    /// <summary>Copies an object into JSON. Its numbers can be read as any type of number that holds them.</summary>
    /// <param name="value">The object.</param>
    /// <returns>The copy, which is the caller's to change.</returns>
    /// <exception cref="FormatException">It has a number that JSON does not know, or more than 128 levels.</exception>
    public static JsonObject ToJson(this Struct value) => (JsonObject)ToJson(Value.ForStruct(value))!;

    /// <summary>Copies a value into JSON.</summary>
    /// <param name="value">The value.</param>
    /// <returns>The copy, null for JSON's null.</returns>
    /// <inheritdoc cref="ToJson(Struct)" path="/exception"/>
    public static JsonNode? ToJson(this Value value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return JsonNode.Parse(Write(value).Span, nodeOptions: null, Deep);
    }

    /// <summary>Reads an object as a type of one's own.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="value">The object.</param>
    /// <param name="type">The type's description, as a <c>JsonSerializerContext</c> has it.</param>
    /// <returns>The value that was read.</returns>
    /// <exception cref="FormatException">The object is not of that type; the message names the field, and what it
    /// holds.</exception>
    public static T ToObject<T>(this Struct value, JsonTypeInfo<T> type)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(value);
        ArgumentNullException.ThrowIfNull(type);
        try
        {
            // Null comes of the text null alone.
            return JsonSerializer.Deserialize(Write(Value.ForStruct(value)).Span, type)!;
        }
        catch (JsonException ex)
        {
            throw new FormatException(Describe(value, ex), ex);
        }
    }

    /// <summary>Copies a JSON object.</summary>
    /// <param name="value">The object.</param>
    /// <returns>The copy.</returns>
    /// <exception cref="FormatException">It has a number that a double cannot hold, or more than 128 levels.</exception>
    public static Struct ToStruct(this JsonObject value) => ToValue(value).StructValue;

    /// <summary>Copies a JSON value.</summary>
    /// <param name="value">The value; null is JSON's null.</param>
    /// <returns>The copy.</returns>
    /// <inheritdoc cref="ToStruct(JsonObject)" path="/exception"/>
    public static Value ToValue(this JsonNode? value)
    {
        if (value is null)
            return Value.ForNull();
        var text = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(text, new JsonWriterOptions { MaxDepth = int.MaxValue }))
            value.WriteTo(writer);
        return Read(text.WrittenSpan);
    }

    /// <summary>Writes a value of a type of one's own as an object.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="value">The value.</param>
    /// <param name="type">The type's description, as a <c>JsonSerializerContext</c> has it.</param>
    /// <returns>The object.</returns>
    /// <exception cref="ArgumentException">The value is written as something other than an object.</exception>
    /// <inheritdoc cref="ToStruct(JsonObject)" path="/exception"/>
    public static Struct ToStruct<T>(T value, JsonTypeInfo<T> type)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(type);
        Value written = Read(JsonSerializer.SerializeToUtf8Bytes(value, type));
        return written.StructValue ?? throw new ArgumentException($"cannot write '{typeof(T)}' as an object: it is written as {written.KindCase}.", nameof(type));
    }

    /// <summary>Says what was read in place of what was expected, where that is a single value. The place in a text that
    /// nobody sees is left out.</summary>
    private static string Describe(Struct read, JsonException error)
    {
        string path = error.Path?.TrimStart('$', '.') ?? "";
        Value? found = Value.ForStruct(read);
        foreach (string name in path.Split('.', StringSplitOptions.RemoveEmptyEntries))
            found = found?.StructValue?.Fields.GetValueOrDefault(name);
        string why = found?.KindCase is null or Value.KindOneofCase.StructValue or Value.KindOneofCase.ListValue
            ? error.Message.Split(" Path: ", 2)[0].TrimEnd('.')
            : $"{found.ToJson()?.ToJsonString() ?? "null"} is not of its type";
        return path.Length == 0 ? $"{why}." : $"field '{path}': {why}.";
    }

    private static ReadOnlyMemory<byte> Write(Value value)
    {
        var text = new ArrayBufferWriter<byte>();
        using var writer = new Utf8JsonWriter(text, new JsonWriterOptions { MaxDepth = MaxDepth });
        try
        {
            Write(writer, value);
        }
        catch (InvalidOperationException ex) when (writer.CurrentDepth >= MaxDepth)
        {
            throw new FormatException($"cannot write an object as JSON: it has more than {MaxDepth} levels.", ex);
        }

        writer.Flush();
        return text.WrittenMemory;
    }

    private static void Write(Utf8JsonWriter writer, Value value)
    {
        switch (value.KindCase)
        {
            case Value.KindOneofCase.StringValue:
                writer.WriteStringValue(value.StringValue);
                break;
            case Value.KindOneofCase.BoolValue:
                writer.WriteBooleanValue(value.BoolValue);
                break;
            case Value.KindOneofCase.NumberValue:
                Write(writer, value.NumberValue);
                break;
            case Value.KindOneofCase.ListValue:
                writer.WriteStartArray();
                foreach (Value item in value.ListValue.Values)
                    Write(writer, item);
                writer.WriteEndArray();
                break;
            case Value.KindOneofCase.StructValue:
                writer.WriteStartObject();
                foreach ((string name, Value field) in value.StructValue.Fields)
                {
                    writer.WritePropertyName(name);
                    Write(writer, field);
                }

                writer.WriteEndObject();
                break;
            default:
                writer.WriteNullValue();
                break;
        }
    }

    private static void Write(Utf8JsonWriter writer, double number)
    {
        if (!double.IsFinite(number))
            throw new FormatException($"cannot write number '{number}' as JSON, which does not know it.");
        if (Math.Abs(number) <= MaxWhole && Math.Truncate(number) == number)
            writer.WriteNumberValue((long)number);
        else
            writer.WriteNumberValue(number);
    }

    private static Value Read(ReadOnlySpan<byte> text)
    {
        var reader = new Utf8JsonReader(text, new JsonReaderOptions { MaxDepth = MaxDepth });
        try
        {
            reader.Read();
            return Read(ref reader);
        }
        catch (JsonException ex)
        {
            throw new FormatException($"cannot make an object of JSON: {ex.Message}", ex);
        }
    }

    private static Value Read(ref Utf8JsonReader reader)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return Value.ForString(reader.GetString());
            case JsonTokenType.True or JsonTokenType.False:
                return Value.ForBool(reader.GetBoolean());
            case JsonTokenType.Number:
                return Value.ForNumber(ReadNumber(ref reader));
            case JsonTokenType.StartArray:
                var items = new ListValue();
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                    items.Values.Add(Read(ref reader));
                return new Value { ListValue = items };
            case JsonTokenType.StartObject:
                var fields = new Struct();
                while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
                {
                    string name = reader.GetString()!;
                    reader.Read();
                    fields.Fields[name] = Read(ref reader);
                }

                return Value.ForStruct(fields);
            default:
                return Value.ForNull();
        }
    }

    private static double ReadNumber(ref Utf8JsonReader reader)
    {
        double number = reader.GetDouble();

        // 1e400 is read as infinity. Int128 holds every whole number of 64 bits, doubles do not.
        bool holds = double.IsFinite(number)
            && (!reader.TryGetInt64(out long whole) || (Int128)number == whole)
            && (!reader.TryGetUInt64(out ulong positive) || (Int128)number == positive);
        return holds ? number : throw new FormatException($"cannot put number '{System.Text.Encoding.UTF8.GetString(reader.ValueSpan)}' into an object: a double does not hold it. Send it as a string.");
    }
}
