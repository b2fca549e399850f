using System.Text.Json;

namespace Xfn.Core.Sources;

/// <summary>What a manifest document is.</summary>
internal enum OciDocumentKind
{
    Index,
    Manifest,
}

/// <summary>Reads manifests, indexes and configurations of a named image, and says in its terms what is wrong with them.</summary>
internal static class OciDocuments
{
    /// <summary>What a document is, by what it holds. A document that could be read as both, or calls itself something else than its source does, is refused:
    /// two readers might each see another image (CVE-2021-41190).</summary>
    public static OciDocumentKind KindOf(ImageReference reference, FetchedManifest fetched)
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
                        mediaType = property.Value.GetString();
                        break;
                    case "SCHEMAVERSION":
                        schema = property.Value.GetInt32();
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
        catch (Exception ex) when (ex is JsonException or InvalidOperationException or FormatException)
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
        return (type ?? said) switch
        {
            MediaTypes.OciIndex or MediaTypes.DockerManifestList when !layers => OciDocumentKind.Index,
            MediaTypes.OciManifest or MediaTypes.DockerManifest when !manifests => OciDocumentKind.Manifest,
            var t when IsKnown(t) => throw Unusable(reference, "manifest", $"it is called {t} and holds something else"),
            var t when type is not null => throw Unusable(reference, "manifest", $"it is of type '{t}', expected an image manifest or index. Name an image"),
            _ => manifests ? OciDocumentKind.Index : OciDocumentKind.Manifest,
        };
    }

    /// <summary>Refuses a document that is an index where its descriptor says manifest, or the other way round.</summary>
    public static void CheckKind(ImageReference reference, FetchedManifest fetched, Descriptor descriptor)
    {
        bool isIndex = KindOf(reference, fetched) == OciDocumentKind.Index;
        string? type = Essence(descriptor.MediaType);
        if (IsKnown(type) && isIndex != (type is MediaTypes.OciIndex or MediaTypes.DockerManifestList))
            throw Unusable(reference, "index", $"it calls {descriptor.Digest} {type}, which it is not");
    }

    /// <summary>What kind of artifact a manifest is; null when it is an image's, as far as it says.</summary>
    public static string? ArtifactTypeOf(ReadOnlySpan<byte> manifestJson)
    {
        // Looked at by itself, before anything is parsed that only an image need have.
        string? type = null, artifact = null;
        try
        {
            var reader = new Utf8JsonReader(manifestJson);
            if (JsonDocument.TryParseValue(ref reader, out JsonDocument? document))
            {
                using (document)
                {
                    JsonElement root = document.RootElement;
                    artifact = Text(root, "artifactType");
                    if (root.ValueKind == JsonValueKind.Object && root.TryGetProperty("config", out JsonElement config))
                        type = Text(config, "mediaType");
                }
            }
        }
        catch (JsonException)
        {
            // Whoever parses it says what is wrong.
        }

        return type is null || IsImageConfig(Essence(type), artifact) ? null : artifact is { Length: > 0 } ? artifact : type;
    }

    /// <summary>Refuses what is an artifact.</summary>
    public static void CheckIsImage(ImageReference reference, ReadOnlySpan<byte> manifestJson)
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

    private delegate T Parser<T>(ReadOnlySpan<byte> json);

    private static T Parse<T>(ImageReference reference, string what, ReadOnlySpan<byte> json, Parser<T> parse)
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

    /// <summary>Whether a configuration of this type makes an image. What docker of 2016 pushed says octet-stream, and some registries made JSON or HTML of it; docker takes all of them, and so does whoever
    /// parses the configuration, unless the manifest calls itself an artifact.</summary>
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

    /// <summary>A media type without its parameters.</summary>
    private static string? Essence(string? mediaType) => string.IsNullOrEmpty(mediaType) ? null : mediaType.Split(';')[0].Trim();

    private static InvalidImageException Unusable(ImageReference reference, string what, string found, Exception? cause = null) =>
        new(RunStage.Resolve, $"cannot use the {what} of image '{reference}': {found}.", cause);
}
