using System.Text;
using Grpc.Core;

namespace Xfn.Core.Remote;

/// <summary>Adds trailers as long as the client takes them: one that gets too many drops the whole answer.</summary>
/// <param name="budget">The most bytes, as HTTP/2 counts a header list.</param>
internal sealed class TrailerWriter(int budget)
{
    /// <summary>What HTTP/2 counts for each header besides its name and value (RFC 9113, section 6.5.2).</summary>
    private const int Overhead = 32;

    /// <summary>The most bytes of a header, well below usual limits; longer values take several of one name.</summary>
    private const int ChunkBytes = 6 << 10;

    public Metadata Trailers { get; } = [];

    public int Left { get; private set; } = budget;

    /// <summary>Adds text of printable ASCII; leaves it out when it does not fit.</summary>
    public bool Add(string key, string value)
    {
        if (!Take(key.Length + value.Length + Overhead))
            return false;
        Trailers.Add(key, value);
        return true;
    }

    /// <summary>Adds bytes under a key that ends in <c>-bin</c>; leaves them out when they do not fit all.</summary>
    public bool Add(string key, ReadOnlySpan<byte> value)
    {
        if (value.Length > Room(key))
            return false;
        for (; !value.IsEmpty; value = value[Math.Min(value.Length, ChunkBytes)..])
        {
            byte[] chunk = value[..Math.Min(value.Length, ChunkBytes)].ToArray();
            Take(key.Length + Base64Length(chunk.Length) + Overhead);
            Trailers.Add(key, chunk);
        }

        return true;
    }

    /// <summary>How many bytes fit under a key that ends in <c>-bin</c>.</summary>
    public int Room(string key)
    {
        int header = key.Length + Overhead;
        int full = header + Base64Length(ChunkBytes);
        int rest = Math.Max(0, (Left % full) - header) / 4 * 3;
        return (Left / full * ChunkBytes) + Math.Min(rest, ChunkBytes);
    }

    /// <summary>Takes room for the status message (percent-encoded); cuts it, and says so, beyond its share.</summary>
    public string TakeMessage(string message, int share)
    {
        const string Cut = " … (cut)";
        int length = EncodedLength(message);
        if (length > share)
        {
            var kept = new StringBuilder();
            int size = EncodedLength(Cut);
            foreach (Rune rune in message.EnumerateRunes())
            {
                size += EncodedLength(rune.ToString());
                if (size > share)
                    break;
                kept.Append(rune);
            }

            message = kept.Append(Cut).ToString();
            length = EncodedLength(message);
        }

        Take("grpc-message".Length + length + Overhead);
        return message;
    }

    private static int Base64Length(int bytes) => (bytes + 2) / 3 * 4;

    private static int EncodedLength(string text) => text.Sum(c => c is >= ' ' and <= '~' and not '%' ? 1 : c < 0x80 ? 3 : 9);

    private bool Take(int bytes)
    {
        if (bytes > Left)
            return false;
        Left -= bytes;
        return true;
    }
}
