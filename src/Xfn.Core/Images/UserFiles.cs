using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core.Images;

/// <summary>An image's <c>/etc/passwd</c> and <c>/etc/group</c>, each empty where the image has none; and the JSON in which
/// the cache keeps them.</summary>
internal sealed record UserFiles
{
    /// <summary>The version of that JSON. What has another is not used, and written anew.</summary>
    public const int CurrentVersion = 1;

    public required int Version { get; init; }

    public ReadOnlyMemory<byte> Passwd { get; init; }

    public ReadOnlyMemory<byte> Group { get; init; }

    /// <summary>The hash of both files, one after the other, in hexadecimal: a damaged line would be another user.</summary>
    public string? Sha256 { get; init; }

    public static UserFiles Of(ReadOnlyMemory<byte> passwd, ReadOnlyMemory<byte> group) =>
        new() { Version = CurrentVersion, Passwd = passwd, Group = group, Sha256 = Hash(passwd.Span, group.Span) };

    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, UserFilesJsonContext.Default.UserFiles);

    /// <summary>Reads what the cache has.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="ToJson"/> writes; the message says why.</exception>
    public static UserFiles FromJson(ReadOnlySpan<byte> json)
    {
        UserFiles files;
        try
        {
            files = JsonSerializer.Deserialize(json, UserFilesJsonContext.Default.UserFiles) ?? throw new JsonException();
        }
        catch (JsonException ex)
        {
            throw new InvalidDataException("it is of an earlier version, or damaged", ex);
        }

        if (files.Version != CurrentVersion)
            throw new InvalidDataException($"it is of version {files.Version}, expected {CurrentVersion}");
        return files.Sha256 == Hash(files.Passwd.Span, files.Group.Span) ? files : throw new InvalidDataException("it is damaged");
    }

    private static string Hash(ReadOnlySpan<byte> passwd, ReadOnlySpan<byte> group)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(passwd);
        hash.AppendData(group);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(UserFiles))]
internal sealed partial class UserFilesJsonContext : JsonSerializerContext;
