using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core;

/// <summary>Names content: its type, digest and size.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md">image-spec, Content Descriptors</see>.</remarks>
public sealed record Descriptor
{
    /// <summary>What the content is; see <see cref="MediaTypes"/>.</summary>
    public required string MediaType { get; init; }

    /// <summary>The content's digest.</summary>
    public required Digest Digest { get; init; }

    /// <summary>The content's size in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>Where a foreign layer may be had from. Not used unless the runner was told to.</summary>
    public IReadOnlyList<string>? Urls { get; init; }

    /// <summary>The platform a manifest of an index is for.</summary>
    public Platform? Platform { get; init; }

    /// <summary>Arbitrary notes.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }

    /// <summary>The content itself, embedded.</summary>
    public byte[]? Data { get; init; }

    /// <summary>The type of an artifact.</summary>
    public string? ArtifactType { get; init; }
}

/// <summary>What an image runs on.</summary>
public sealed record Platform
{
    /// <summary>Go's name of the operating system: <c>linux</c>.</summary>
    [JsonPropertyName("os")]
    public string Os { get; init; } = "";

    /// <summary>Go's name of the architecture: <c>amd64</c>, <c>arm64</c>, <c>arm</c>.</summary>
    public string Architecture { get; init; } = "";

    /// <summary>The architecture's variant: <c>v8</c>.</summary>
    public string? Variant { get; init; }

    /// <summary><c>os/architecture[/variant]</c>.</summary>
    public override string ToString() => string.IsNullOrEmpty(Variant) ? $"{Os}/{Architecture}" : $"{Os}/{Architecture}/{Variant}";
}

/// <summary>A list of manifests, one a platform.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md">image-spec, Image Index</see>.</remarks>
public sealed record ImageIndex
{
    /// <summary>2.</summary>
    public int SchemaVersion { get; init; } = 2;

    /// <summary>The index's own type.</summary>
    public string? MediaType { get; init; }

    /// <summary>The manifests, in order of preference.</summary>
    public required IReadOnlyList<Descriptor> Manifests { get; init; }

    /// <summary>Arbitrary notes.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }
}

/// <summary>The configuration and layers of an image.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md">image-spec, Image Manifest</see>.</remarks>
public sealed record ImageManifest
{
    /// <summary>2.</summary>
    public int SchemaVersion { get; init; } = 2;

    /// <summary>The manifest's own type.</summary>
    public string? MediaType { get; init; }

    /// <summary>The configuration.</summary>
    public required Descriptor Config { get; init; }

    /// <summary>The layers, the base first.</summary>
    public required IReadOnlyList<Descriptor> Layers { get; init; }

    /// <summary>Arbitrary notes.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }
}

/// <summary>An image's configuration, as far as running it needs.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md">image-spec, Image Configuration</see>.</remarks>
public sealed record ImageConfig
{
    /// <summary>Go's name of the architecture.</summary>
    public string Architecture { get; init; } = "";

    /// <summary>Go's name of the operating system.</summary>
    [JsonPropertyName("os")]
    public string Os { get; init; } = "";

    /// <summary>The architecture's variant.</summary>
    public string? Variant { get; init; }

    /// <summary>How to run the image.</summary>
    public ImageExecutionConfig? Config { get; init; }

    /// <summary>The layers' DiffIDs.</summary>
    [JsonPropertyName("rootfs")]
    public required ImageRootFs RootFs { get; init; }
}

/// <summary>How an image wants to be run.</summary>
/// <remarks>These names are capitalised in the document. Fields of no use here are not read.</remarks>
public sealed record ImageExecutionConfig
{
    /// <summary><c>user</c>, <c>uid</c>, <c>user:group</c>, <c>uid:gid</c>, <c>uid:group</c> or <c>user:gid</c>.</summary>
    [JsonPropertyName("User")]
    public string? User { get; init; }

    /// <summary>Environment, <c>NAME=VALUE</c>.</summary>
    [JsonPropertyName("Env")]
    public IReadOnlyList<string>? Env { get; init; }

    /// <summary>The command and its first arguments.</summary>
    [JsonPropertyName("Entrypoint"), JsonConverter(typeof(WordsJsonConverter))]
    public IReadOnlyList<string>? Entrypoint { get; init; }

    /// <summary>Default arguments, or the command when there is no entrypoint.</summary>
    [JsonPropertyName("Cmd"), JsonConverter(typeof(WordsJsonConverter))]
    public IReadOnlyList<string>? Cmd { get; init; }

    /// <summary>The working directory.</summary>
    [JsonPropertyName("WorkingDir")]
    public string? WorkingDir { get; init; }

    /// <summary>Absolute paths that the program writes to; the values are empty objects.</summary>
    [JsonPropertyName("Volumes")]
    public IReadOnlyDictionary<string, JsonElement>? Volumes { get; init; }

    /// <summary>The host name; docker's, not in the specification.</summary>
    [JsonPropertyName("Hostname")]
    public string? Hostname { get; init; }
}

/// <summary>The DiffIDs of an image's layers.</summary>
public sealed record ImageRootFs
{
    /// <summary><c>layers</c>.</summary>
    public string Type { get; init; } = "layers";

    /// <summary>The digests of the uncompressed layers, the base first.</summary>
    [JsonPropertyName("diff_ids")]
    public required IReadOnlyList<Digest> DiffIds { get; init; }
}
