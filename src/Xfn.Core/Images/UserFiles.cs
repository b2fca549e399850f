using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;

namespace Xfn.Core.Images;

/// <summary>An image's user files, each empty where the image has none, and the JSON in which the cache keeps them.
/// </summary>
/// <param name="Passwd">Its <c>/etc/passwd</c>.</param>
/// <param name="Group">Its <c>/etc/group</c>.</param>
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
        writer.WriteString("sha256", Hash(Passwd.Span, Group.Span));
        writer.WriteEndObject();
        writer.Flush();
        return json.WrittenSpan.ToArray();
    }

    /// <summary>Reads what the cache has.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="ToJson"/> writes. The message says why.
    /// </exception>
    public static UserFiles FromJson(ReadOnlySpan<byte> json)
    {
        int version = 0;
        byte[] passwd = [], group = [];
        string? hash = null;
        try
        {
            // By hand: a serializer takes 0.1 ms to be ready, and a process that runs one function reads one file.
            var reader = new Utf8JsonReader(json);
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                string? name = reader.GetString();
                reader.Read();
                switch (name)
                {
                    case "version":
                        version = reader.GetInt32();
                        break;
                    case "passwd":
                        passwd = reader.GetBytesFromBase64();
                        break;
                    case "group":
                        group = reader.GetBytesFromBase64();
                        break;
                    case "sha256":
                        hash = reader.GetString();
                        break;
                    default:
                        reader.Skip();
                        break;
                }
            }
        }
        catch (Exception ex) when (ex is JsonException or FormatException or InvalidOperationException)
        {
            throw new InvalidDataException("it is of an earlier version, or damaged", ex);
        }

        if (version != Version)
            throw new InvalidDataException($"it is of version {version}, expected {Version}");

        // A damaged line would be another user.
        return hash == Hash(passwd, group)
            ? new UserFiles(passwd, group)
            : throw new InvalidDataException("it is damaged");
    }

    private static string Hash(ReadOnlySpan<byte> passwd, ReadOnlySpan<byte> group)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(passwd);
        hash.AppendData(group);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
