using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using Xfn.Core.Cache;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>An image's <c>/etc/passwd</c> and <c>/etc/group</c>, each empty where the image has none, and the JSON in
/// which the cache keeps them.</summary>
internal sealed record UserFiles(ReadOnlyMemory<byte> Passwd, ReadOnlyMemory<byte> Group)
{
    // JSON of another version is not used, and written anew.
    private const int Version = 1;

    public byte[] ToJson()
    {
        var json = new ArrayBufferWriter<byte>();
        using var writer = new Utf8JsonWriter(json);
        writer.WriteStartObject();
        writer.WriteNumber("version", Version);
        writer.WriteBase64String("passwd", Passwd.Span);
        writer.WriteBase64String("group", Group.Span);
        writer.WriteString("sha256", Hash());
        writer.WriteEndObject();
        writer.Flush();
        return json.WrittenSpan.ToArray();
    }

    /// <summary>Reads what the cache has.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="ToJson"/> writes. The message says
    /// why.</exception>
    public static UserFiles FromJson(ReadOnlyMemory<byte> json)
    {
        try
        {
            // Not by a serializer: that takes 0.1 ms to be ready, and a process that runs one function reads one file.
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            int version = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("version", out JsonElement said) ? said.GetInt32() : 0;
            if (version != Version)
                throw new InvalidDataException($"it is of version {version}, expected {Version}");
            var files = new UserFiles(root.GetProperty("passwd").GetBytesFromBase64(), root.GetProperty("group").GetBytesFromBase64());

            // A damaged line would be another user.
            return root.GetProperty("sha256").GetString() == files.Hash() ? files : throw new InvalidDataException("it is damaged");
        }
        catch (Exception ex) when (ex is JsonException or FormatException or InvalidOperationException or KeyNotFoundException)
        {
            throw new InvalidDataException("it is of an earlier version, or damaged", ex);
        }
    }

    private string Hash() => Convert.ToHexStringLower(SHA256.HashData([.. Passwd.Span, .. Group.Span]));
}

/// <summary>Reads an image's <c>/etc/passwd</c> and <c>/etc/group</c> once, inside its root: no link leads
/// out.</summary>
internal sealed class UserFileReader(CacheDirectory cache, ImageStore store, SparkLauncher sparks)
{
    private const int MaxBytes = 10 << 20;

    private static readonly string[] Paths = ["/etc/passwd", "/etc/group"];

    public async Task<StoredImage> CompleteAsync(ImageReference reference, StoredImage image, CancellationToken cancellationToken)
    {
        UserFiles files = store.ReadUserFiles(image.ManifestDigest) ?? await ReadAsync(reference, image, cancellationToken).ConfigureAwait(false);
        return image with { Passwd = files.Passwd, Group = files.Group, HasUserFiles = true };
    }

    private async Task<UserFiles> ReadAsync(ImageReference reference, StoredImage image, CancellationToken cancellationToken)
    {
        // What this spark does is read; it needs no directory but one to stand in.
        var request = new SparkReadFiles(new SparkLayers(".", image.LowerDirectories), Paths, MaxBytes);
        try
        {
            SparkFiles read = await sparks.AskAsync<SparkFiles>(RunStage.Bundle, cache.Store, request, null, cancellationToken).ConfigureAwait(false);
            var files = new UserFiles(read.Contents[0], read.Contents[1]);
            store.TryWriteUserFiles(image.ManifestDigest, files);
            return files;
        }
        catch (ContainerEnvironmentException ex) when (ex.InnerException is SparkFailedException { Failure: { Kind: SparkFailureKind.Image } failure })
        {
            throw new InvalidImageException(RunStage.Bundle, $"cannot look up the user of image '{reference}': {failure.Message}.", ex.InnerException);
        }
    }
}
