using System.Text.Json;

namespace Xfn.Core.Sources;

/// <summary>Reads manifests, indexes and configurations of a named image. Errors are in its terms.</summary>
internal static class OciDocuments
{
    /// <summary>Whether a document is an index, and not a manifest, by what it holds. A document that could be read as
    /// both, or calls itself something else than its source or its descriptor does, is refused: two readers might each
    /// see another image (CVE-2021-41190).</summary>
    public static bool IsIndex(ImageReference reference, FetchedManifest fetched, Descriptor? descriptor = null)
    {
        string? mediaType = null;
        bool manifests = false, layers = false;
        int schema = 0;
        try
        {
            using JsonDocument document = JsonDocument.Parse(fetched.Content, new JsonDocumentOptions { MaxDepth = 64, AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw Unusable(reference, "manifest", "it is no JSON object");
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
            {
                // In any case, as they are read later.
                switch (property.Name.ToUpperInvariant())
                {
                    case "MEDIATYPE":
                        mediaType = property.Value.ValueKind is JsonValueKind.String or JsonValueKind.Null ? property.Value.GetString() : throw Unexpected(property, "a text");
                        break;
                    case "SCHEMAVERSION":
                        if (property.Value.ValueKind != JsonValueKind.Number || !property.Value.TryGetInt32(out schema))
                            throw Unexpected(property, "a whole number");
                        break;
                    case "MANIFESTS":
                        manifests = true;
                        break;
                    case "LAYERS" or "CONFIG" or "FSLAYERS":
                        layers = true;
                        break;
                }
            }
        }
        catch (Exception ex) when (ex is JsonException or InvalidOperationException)
        {
            throw Unusable(reference, "manifest", "it is no valid JSON", ex);
        }

        if (schema == 1)
            throw Unusable(reference, "manifest", "it is of docker's schema 1, which carries no digests to trust. Push the image again with a current tool");
        if (manifests && layers)
            throw Unusable(reference, "manifest", "it is an index and a manifest at once");
        string? type = Essence(mediaType);
        string? said = Essence(fetched.MediaType);
        if (type is not null && IsKnown(said) && said != type)
            throw Unusable(reference, "manifest", $"it calls itself {type}, its source calls it {said}");
        bool isIndex = (type ?? said) switch
        {
            MediaTypes.OciIndex or MediaTypes.DockerManifestList when !layers => true,
            MediaTypes.OciManifest or MediaTypes.DockerManifest when !manifests => false,
            var t when IsKnown(t) => throw Unusable(reference, "manifest", $"it is called {t} and holds something else"),
            var t when type is not null => throw Unusable(reference, "manifest", $"it is of type '{t}', expected an image manifest or index. Name an image"),
            _ => manifests,
        };
        string? described = Essence(descriptor?.MediaType);
        return IsKnown(described) && isIndex != (described is MediaTypes.OciIndex or MediaTypes.DockerManifestList)
            ? throw Unusable(reference, "index", $"it calls {descriptor!.Digest} {described}, which it is not")
            : isIndex;

        InvalidImageException Unexpected(JsonProperty property, string expected)
        {
            string found = property.Value.ValueKind switch { JsonValueKind.Null => "null", JsonValueKind.Number => "a number", _ => "of another kind" };
            return Unusable(reference, "manifest", $"its {property.Name} is {found}, expected {expected}");
        }
    }

    /// <summary>What kind of artifact a manifest is; null when it is an image's, as far as it says.</summary>
    public static string? ArtifactTypeOf(ReadOnlyMemory<byte> manifestJson)
    {
        try
        {
            // Looked at by itself, before anything is parsed that only an image need have.
            using JsonDocument document = JsonDocument.Parse(manifestJson);
            JsonElement root = document.RootElement;
            string? artifact = Text(root, "artifactType");
            string? type = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("config", out JsonElement config) ? Text(config, "mediaType") : null;
            return type is null || IsImageConfig(Essence(type), artifact) ? null : artifact is { Length: > 0 } ? artifact : type;
        }
        catch (JsonException)
        {
            // Whoever parses it says what is wrong.
            return null;
        }
    }

    /// <summary>Refuses what is an artifact.</summary>
    public static void CheckIsImage(ImageReference reference, ReadOnlyMemory<byte> manifestJson)
    {
        if (ArtifactTypeOf(manifestJson) is { } type)
            throw Unusable(reference, "manifest", $"it is an artifact of type '{type}', not an image. Name an image");
    }

    public static ImageIndex ParseIndex(ImageReference reference, ReadOnlySpan<byte> json) => Parse(reference, "index", json, OciJson.ParseIndex);

    public static ImageManifest ParseManifest(ImageReference reference, ReadOnlySpan<byte> json) => Parse(reference, "manifest", json, OciJson.ParseManifest);

    public static ImageConfig ParseConfig(ImageReference reference, ReadOnlySpan<byte> json) => Parse(reference, "configuration", json, OciJson.ParseConfig);

    /// <summary>Whether manifest and configuration make an image that can be run.</summary>
    public static void Check(ImageReference reference, ImageManifest manifest, ImageConfig config)
    {
        if (manifest.Layers.Count != config.RootFs.DiffIds.Count)
            throw Unusable(reference, "manifest", $"it has {manifest.Layers.Count} layers, its configuration {config.RootFs.DiffIds.Count}");
        if (manifest.Layers.FirstOrDefault(l => l.MediaType.EndsWith("+encrypted", StringComparison.Ordinal)) is { } encrypted)
            throw Unusable(reference, "manifest", $"layer {encrypted.Digest} is encrypted ({encrypted.MediaType}), and layers are not decrypted here. Use an image whose layers are not encrypted");
        if (manifest.Layers.Count == 0)
            throw Unusable(reference, "manifest", "it has no layers, so nothing to run");
        if (config.RootFs.DiffIds.Any(d => d.IsEmpty) || manifest.Layers.Any(l => l.Digest.IsEmpty || l.Size < 0))
            throw Unusable(reference, "manifest", "a layer lacks its digest or size");

        // Embedded content is not used; but who embeds another than is named means to be read in two ways.
        if (manifest.Layers.Append(manifest.Config).FirstOrDefault(d => d.Data is { } data && (data.Length != d.Size || !d.Digest.Matches(data))) is { } other)
            throw Unusable(reference, "manifest", $"the content that it embeds for {other.Digest} is another");
    }

    public static InvalidImageException WrongSize(RunStage stage, string what, long found, long expected) =>
        new(stage, $"cannot use {what}: it has {found} bytes, expected {expected}. It was changed on the way, or its source is damaged.");

    private static T Parse<T>(ImageReference reference, string what, ReadOnlySpan<byte> json, Func<ReadOnlySpan<byte>, T> parse)
    {
        try
        {
            return parse(json);
        }
        catch (JsonException ex)
        {
            throw Unusable(reference, what, ex.Message, ex);
        }
    }

    /// <summary>Whether this configuration type makes an image. docker of 2016 pushed octet-stream, and registries made
    /// JSON or HTML of it. docker takes all; others do unless the manifest calls itself an artifact.</summary>
    private static bool IsImageConfig(string? type, string? artifactType) =>
        type is MediaTypes.OciConfig or MediaTypes.DockerConfig
        || string.IsNullOrEmpty(artifactType) && type is ("application/octet-stream" or "application/json" or "text/html");

    /// <summary>A property's text; null when there is none.</summary>
    public static string? Text(JsonElement element, string property)
    {
        if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(property, out JsonElement value) || value.ValueKind != JsonValueKind.String)
            return null;
        try
        {
            return value.GetString();
        }
        catch (InvalidOperationException)
        {
            // What it escapes is no text, half of a surrogate pair say. Nothing is called so.
            return null;
        }
    }

    private static bool IsKnown(string? mediaType) =>
        mediaType is MediaTypes.OciIndex or MediaTypes.DockerManifestList or MediaTypes.OciManifest or MediaTypes.DockerManifest;

    private static string? Essence(string? mediaType) => string.IsNullOrEmpty(mediaType) ? null : mediaType.Split(';')[0].Trim();

    private static InvalidImageException Unusable(ImageReference reference, string what, string found, Exception? cause = null) =>
        new(RunStage.Resolve, $"cannot use the {what} of image '{reference}': {found}.", cause);
}
