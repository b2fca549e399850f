using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core;

/// <summary>Describes content: its type, digest and size.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md">image-spec, Content
/// Descriptors</see>.</remarks>
public sealed record Descriptor
{
    /// <summary>The media type of the content. <see cref="MediaTypes"/> has those that images have.</summary>
    public required string MediaType { get; init; }

    /// <summary>The content's digest.</summary>
    public required Digest Digest { get; init; }

    /// <summary>The content's size in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>URLs that a foreign layer can be fetched from (<c>RegistryOptions.AllowForeignLayers</c>). Null for
    /// none.</summary>
    public IReadOnlyList<string>? Urls { get; init; }

    /// <summary>The platform that a manifest of an index is for. Null where the index does not say.</summary>
    public Platform? Platform { get; init; }

    /// <summary>Annotations, by their names. Null for none.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }

    /// <summary>The content itself, embedded. Null where it is not.</summary>
    public byte[]? Data { get; init; }

    /// <summary>The type of an artifact, which is something other than an image. Null for none.</summary>
    public string? ArtifactType { get; init; }
}

/// <summary>An operating system and an architecture, by Go's names.</summary>
public sealed record Platform
{
    /// <summary>The operating system, such as <c>linux</c>.</summary>
    [JsonPropertyName("os")]
    public string Os { get; init; } = "";

    /// <summary>The architecture, such as <c>amd64</c>, <c>arm64</c> or <c>arm</c>.</summary>
    public string Architecture { get; init; } = "";

    /// <summary>The variant of the architecture, such as <c>v8</c>. Null for none.</summary>
    public string? Variant { get; init; }

    /// <summary>Writes <c>os/architecture[/variant]</c>.</summary>
    public override string ToString() => string.IsNullOrEmpty(Variant) ? $"{Os}/{Architecture}" : $"{Os}/{Architecture}/{Variant}";
}

/// <summary>An image index: a list of manifests, one for each platform.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md">image-spec, Image
/// Index</see>.</remarks>
public sealed record ImageIndex
{
    /// <summary>The version of the document's schema: 2.</summary>
    public int SchemaVersion { get; init; } = 2;

    /// <summary>The media type of the index. Null where the document does not say.</summary>
    public string? MediaType { get; init; }

    /// <summary>The manifests, in order of preference.</summary>
    public required IReadOnlyList<Descriptor> Manifests { get; init; }

    /// <summary>Annotations, by their names. Null for none.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }
}

/// <summary>An image manifest: an image's configuration and layers.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md">image-spec, Image
/// Manifest</see>.</remarks>
public sealed record ImageManifest
{
    /// <summary>The version of the document's schema: 2.</summary>
    public int SchemaVersion { get; init; } = 2;

    /// <summary>The media type of the manifest. Null where the document does not say.</summary>
    public string? MediaType { get; init; }

    /// <summary>The configuration.</summary>
    public required Descriptor Config { get; init; }

    /// <summary>The layers, the base first.</summary>
    public required IReadOnlyList<Descriptor> Layers { get; init; }

    /// <summary>Annotations, by their names. Null for none.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }
}

/// <summary>An image's configuration, as far as running it needs.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md">image-spec, Image
/// Configuration</see>.</remarks>
public sealed record ImageConfig
{
    /// <summary>The architecture that the image is for, by Go's name, such as <c>amd64</c>.</summary>
    public string Architecture { get; init; } = "";

    /// <summary>The operating system that the image is for, by Go's name, such as <c>linux</c>.</summary>
    [JsonPropertyName("os")]
    public string Os { get; init; } = "";

    /// <summary>The variant of the architecture. Null for none.</summary>
    public string? Variant { get; init; }

    /// <summary>How the image wants to be run. Null where it does not say.</summary>
    public ImageExecutionConfig? Config { get; init; }

    /// <summary>The layers' DiffIDs.</summary>
    [JsonPropertyName("rootfs")]
    public required ImageRootFs RootFs { get; init; }
}

/// <summary>How an image wants to be run.</summary>
/// <remarks>These names are capitalised in the document. Fields of no use here are not read.</remarks>
public sealed record ImageExecutionConfig
{
    /// <summary>The user and group: <c>user</c>, <c>uid</c>, <c>user:group</c>, <c>uid:gid</c>, <c>uid:group</c> or
    /// <c>user:gid</c>. Null for root.</summary>
    [JsonPropertyName("User")]
    public string? User { get; init; }

    /// <summary>Environment variables, each <c>NAME=VALUE</c>. Null for none.</summary>
    [JsonPropertyName("Env")]
    public IReadOnlyList<string>? Env { get; init; }

    /// <summary>The command and its first arguments. Null for none.</summary>
    [JsonPropertyName("Entrypoint"), JsonConverter(typeof(WordsJsonConverter))]
    public IReadOnlyList<string>? Entrypoint { get; init; }

    /// <summary>Arguments behind the entrypoint, or the command when there is none. Null for none.</summary>
    [JsonPropertyName("Cmd"), JsonConverter(typeof(WordsJsonConverter))]
    public IReadOnlyList<string>? Cmd { get; init; }

    /// <summary>The working directory. Null for <c>/</c>.</summary>
    [JsonPropertyName("WorkingDir")]
    public string? WorkingDir { get; init; }

    /// <summary>Absolute paths that the program writes to. The values are empty objects. Null for none.</summary>
    [JsonPropertyName("Volumes")]
    public IReadOnlyDictionary<string, JsonElement>? Volumes { get; init; }

    /// <summary>The ports at which the program listens, each <c>PORT</c>, <c>PORT/tcp</c> or <c>PORT/udp</c>. The values
    /// are empty objects. Null for none.</summary>
    [JsonPropertyName("ExposedPorts")]
    public IReadOnlyDictionary<string, JsonElement>? ExposedPorts { get; init; }

    /// <summary>The host name. It is docker's, and not in the specification. Null for none.</summary>
    [JsonPropertyName("Hostname")]
    public string? Hostname { get; init; }

    /// <summary>How docker finds out whether the program is healthy. It is docker's, and not in the specification. Null
    /// for none.</summary>
    [JsonPropertyName("Healthcheck")]
    public JsonElement? Healthcheck { get; init; }

    /// <summary>The signal that asks the program to end, such as <c>SIGTERM</c> or <c>SIGRTMIN+3</c>. Null for
    /// none.</summary>
    [JsonPropertyName("StopSignal")]
    public string? StopSignal { get; init; }
}

/// <summary>The DiffIDs of an image's layers.</summary>
public sealed record ImageRootFs
{
    /// <summary>The kind of root file system: always <c>layers</c>.</summary>
    public string Type { get; init; } = "layers";

    /// <summary>The digests of the uncompressed layers, the base first.</summary>
    [JsonPropertyName("diff_ids")]
    public required IReadOnlyList<Digest> DiffIds { get; init; }
}
