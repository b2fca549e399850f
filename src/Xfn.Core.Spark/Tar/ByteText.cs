using System.Text;

namespace Xfn.Core.Spark.Tar;

/// <summary>Bytes of unknown encoding, for messages.</summary>
internal static class ByteText
{
    private const int MostBytes = 512;

    /// <summary>One readable line: what is not printable becomes <c>\xHH</c>, a long text loses its middle.</summary>
    public static string Show(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        if (bytes.Length <= MostBytes)
        {
            Append(text, bytes);
        }
        else
        {
            Append(text, bytes[..(MostBytes / 2)]);
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"…({bytes.Length} bytes)…");
            Append(text, bytes[^(MostBytes / 2)..]);
        }

        return text.ToString();
    }

    /// <summary>The same of a name with a NUL behind it.</summary>
    public static string ShowName(ReadOnlySpan<byte> terminated) => Show(terminated[..^1]);

    private static void Append(StringBuilder text, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bool isText = Rune.DecodeFromUtf8(bytes, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            if (isText && !Rune.IsControl(rune))
                text.Append(rune.ToString());
            else
                text.Append(System.Globalization.CultureInfo.InvariantCulture, $"\\x{bytes[0]:x2}");
            bytes = bytes[(isText ? length : 1)..];
        }
    }
}
