using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Xfn.Core;

/// <summary>The OCI image documents as JSON. Unknown fields are passed over, duplicate ones refused. Names of fields
/// may have any case: the programs that others run images with are written in Go, whose reader of JSON does not look at
/// it.</summary>
public static class OciJson
{
    /// <summary>Writes an index.</summary>
    /// <param name="index">The index.</param>
    public static byte[] Serialize(ImageIndex index) => JsonSerializer.SerializeToUtf8Bytes(index, OciJsonContext.Default.ImageIndex);

    /// <summary>Writes a manifest.</summary>
    /// <param name="manifest">The manifest.</param>
    public static byte[] Serialize(ImageManifest manifest) => JsonSerializer.SerializeToUtf8Bytes(manifest, OciJsonContext.Default.ImageManifest);

    /// <summary>Writes a configuration.</summary>
    /// <param name="config">The configuration.</param>
    public static byte[] Serialize(ImageConfig config) => JsonSerializer.SerializeToUtf8Bytes(config, OciJsonContext.Default.ImageConfig);

    /// <summary>Reads an index.</summary>
    /// <param name="json">The document.</param>
    /// <exception cref="JsonException">The document is no index; the message says why in terms of the
    /// document.</exception>
    public static ImageIndex ParseIndex(ReadOnlySpan<byte> json) =>
        Read(json, OciJsonContext.Default.ImageIndex) is { } index && !HasNull(index.Manifests) ? index : throw Null("an index");

    /// <summary>Reads a manifest.</summary>
    /// <param name="json">The document.</param>
    /// <exception cref="JsonException">The document is no manifest; the message says why in terms of the
    /// document.</exception>
    public static ImageManifest ParseManifest(ReadOnlySpan<byte> json) =>
        Read(json, OciJsonContext.Default.ImageManifest) is { } manifest && !HasNull(manifest.Layers) ? manifest : throw Null("a manifest");

    /// <summary>Reads a configuration.</summary>
    /// <param name="json">The document.</param>
    /// <exception cref="JsonException">The document is no configuration; the message says why in terms of the
    /// document.</exception>
    public static ImageConfig ParseConfig(ReadOnlySpan<byte> json) =>
        Read(json, OciJsonContext.Default.ImageConfig) is { } config && !HasNull(config.Config?.Env) && !HasNull(config.Config?.Entrypoint) && !HasNull(config.Config?.Cmd)
            ? config
            : throw Null("a configuration");

    private static T? Read<T>(ReadOnlySpan<byte> json, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(json, type);
        }
        catch (JsonException ex)
        {
            throw new JsonException(JsonFault.Describe(ex), ex.Path, ex.LineNumber, ex.BytePositionInLine, ex);
        }
    }

    // The serializer looks at properties, not at what lists hold.
    private static bool HasNull<T>(IReadOnlyList<T>? list)
        where T : class => list?.Contains(null) == true;

    private static JsonException Null(string expected) => new($"expected {expected}, found null");
}

/// <summary>Reads and writes digests as JSON strings.</summary>
internal sealed class DigestJsonConverter : JsonConverter<Digest>
{
    public override Digest Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && Digest.TryParse(reader.GetString(), out Digest digest)
            ? digest
            : throw new UnexpectedValueException("a digest: sha256: and 64, or sha512: and 128 lower-case hexadecimal digits");

    public override void Write(Utf8JsonWriter writer, Digest value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}

/// <summary>Reads and writes a command's words. A text is one word: docker takes what some builders write so.</summary>
internal sealed class WordsJsonConverter : JsonConverter<IReadOnlyList<string>>
{
    public override IReadOnlyList<string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return [reader.GetString()!];
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException();
        var words = new List<string>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            // ParseConfig refuses a null.
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.Null))
                throw new JsonException();
            words.Add(reader.GetString()!);
        }

        return words;
    }

    public override void Write(Utf8JsonWriter writer, IReadOnlyList<string> value, JsonSerializerOptions options) =>
        JsonSerializer.Serialize(writer, value, OciJsonContext.Default.IReadOnlyListString);
}

/// <summary>Source-generated (de)serialization of the OCI image documents.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    PropertyNameCaseInsensitive = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    MaxDepth = 64,
    Converters = [typeof(DigestJsonConverter)])]
[JsonSerializable(typeof(Descriptor))]
[JsonSerializable(typeof(ImageIndex))]
[JsonSerializable(typeof(ImageManifest))]
[JsonSerializable(typeof(ImageConfig))]
internal sealed partial class OciJsonContext : JsonSerializerContext;
