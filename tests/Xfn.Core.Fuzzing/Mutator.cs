using System.Buffers.Binary;
using System.Text;

namespace Xfn.Core.Fuzzing;

/// <summary>Changes inputs by chance where parsers mind: bits, numbers, pieces doubled, cut, or of others.</summary>
internal sealed class Mutator(Random random, IReadOnlyList<byte[]> corpus, int maxBytes)
{
    private static readonly string[] Numbers =
    [
        "0", "-1", "1", "00", "7", "8", "127", "128", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
        "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e999", "-0", "0x10", "1.5", "NaN", "null", "true",
    ];

    private static readonly string[] Words =
    [
        "\0", "\n", "\r\n", " ", "\t", "\"", "\\", "\\\"", ",", ":", "=", "/", "../", "//", "@", "[", "]", "{", "}", "[[[[", "{\"a\":", "\uFEFF", "\u202E", "é", "%00",
        "sha256:", "\\u0000", "\\ud800", "Ki", "E", "e99", "application/vnd.oci.image.index.v1+json",
    ];

    private static readonly byte[] Bytes = [0, 1, 0x7F, 0x80, 0xFF, (byte)' ', (byte)'0', (byte)'9', (byte)'/', (byte)'"'];

    /// <summary>An input that is like another.</summary>
    public byte[] Mutate(byte[] input)
    {
        var bytes = new List<byte>(input);
        for (int left = 1 << random.Next(5); left > 0; left--)
            Change(bytes);
        if (bytes.Count > maxBytes)
            bytes.RemoveRange(maxBytes, bytes.Count - maxBytes);
        return [.. bytes];
    }

    private void Change(List<byte> bytes)
    {
        int at = random.Next(bytes.Count + 1);
        int length = Math.Min(Length(), bytes.Count - at);
        switch (random.Next(12))
        {
            case 0 when at < bytes.Count:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1 when at < bytes.Count:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2 when at < bytes.Count:
                bytes[at] = Bytes[random.Next(Bytes.Length)];
                break;
            case 3 when at < bytes.Count:
                bytes[at] += (byte)random.Next(-16, 17);
                break;
            case 4 when at + 4 <= bytes.Count:
                Span<byte> number = stackalloc byte[4];
                BinaryPrimitives.WriteInt32LittleEndian(number, random.Next(3) == 0 ? random.Next(256) : int.MaxValue >> random.Next(32));
                for (int i = 0; i < 4; i++)
                    bytes[at + i] = number[i];
                break;
            case 5:
                bytes.RemoveRange(at, length);
                break;
            case 6:
                bytes.InsertRange(at, bytes.GetRange(at, length));
                break;
            case 7:
                byte[] other = corpus[random.Next(corpus.Count)];
                int from = random.Next(other.Length + 1);
                bytes.InsertRange(at, other[from..Math.Min(other.Length, from + Length())]);
                break;
            case 8:
                Replace(bytes, at, length, Numbers[random.Next(Numbers.Length)]);
                break;
            case 9:
                Replace(bytes, at, random.Next(2) == 0 ? 0 : Math.Min(1, length), Words[random.Next(Words.Length)]);
                break;
            case 10:
                List<byte> piece = bytes.GetRange(at, length);
                int to = random.Next(bytes.Count + 1);
                for (int i = 0; i < piece.Count && to + i < bytes.Count; i++)
                    bytes[to + i] = piece[i];
                break;
            case 11 when bytes.Count > 0:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
        }
    }

    private static void Replace(List<byte> bytes, int at, int length, string text)
    {
        bytes.RemoveRange(at, length);
        bytes.InsertRange(at, Encoding.UTF8.GetBytes(text));
    }

    private int Length() => random.Next(4) == 0 ? random.Next(1, 1025) : random.Next(1, 17);
}
