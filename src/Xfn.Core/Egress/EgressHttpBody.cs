namespace Xfn.Core.Egress;

/// <summary>Tells which bytes behind the head of a request are its body; the body is sent on as it came.
/// <see href="https://www.rfc-editor.org/rfc/rfc9112#section-6">RFC 9112, section 6</see>.</summary>
internal sealed class EgressHttpBody
{
    /// <summary>How long a line between chunks may be, and all lines behind the last.</summary>
    private const int MaxLine = 4096;

    private const int MaxTrailers = 32 * 1024;

    private State _state;
    private long _left;
    private int _line;
    private int _trailers;

    private EgressHttpBody(State state, long left) => (_state, _left) = (state, left);

    /// <summary>Where the next byte stands.</summary>
    private enum State
    {
        Sized,
        Size,
        Extension,
        SizeEnd,
        Chunk,
        ChunkReturn,
        ChunkEnd,
        Trailer,
        TrailerEnd,
        LastEnd,
        Complete,
    }

    public bool IsComplete => _state == State.Complete;

    /// <summary>A body of so many bytes.</summary>
    public static EgressHttpBody Sized(long bytes) => new(bytes == 0 ? State.Complete : State.Sized, bytes);

    /// <summary>A body of chunks that say their sizes.</summary>
    public static EgressHttpBody Chunked() => new(State.Size, 0);

    /// <summary>Takes the next bytes of a connection.</summary>
    /// <returns>How many of them are the body's; -1 where the chunks are malformed.</returns>
    public int Take(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        while (at < bytes.Length && _state != State.Complete)
        {
            if (_state is State.Sized or State.Chunk)
            {
                int taken = (int)Math.Min(_left, bytes.Length - at);
                at += taken;
                _left -= taken;
                if (_left == 0)
                    _state = _state == State.Sized ? State.Complete : State.ChunkReturn;
            }
            else if (!Step(bytes[at++]))
            {
                return -1;
            }
        }

        return at;
    }

    /// <summary>Takes a byte of what stands around chunks; false where it cannot stand there.</summary>
    private bool Step(byte c)
    {
        switch (_state)
        {
            case State.Size when Hex(c) is var digit and >= 0:
                _left = (_left * 16) + digit;
                return ++_line <= 15;
            case State.Size when _line > 0 && c is (byte)';' or (byte)'\r':
                _state = c == ';' ? State.Extension : State.SizeEnd;
                return true;
            case State.Extension:
                if (c == '\r')
                    _state = State.SizeEnd;
                return ++_line <= MaxLine && (c is (byte)'\r' or (byte)'\t' || IsPrintable(c));
            case State.SizeEnd:
                _line = 0;
                _state = _left > 0 ? State.Chunk : State.Trailer;
                return c == '\n';
            case State.ChunkReturn:
                _state = State.ChunkEnd;
                return c == '\r';
            case State.ChunkEnd:
                _state = State.Size;
                return c == '\n';
            case State.Trailer:
                bool isFirst = _line++ == 0;
                if (c == '\r')
                    _state = isFirst ? State.LastEnd : State.TrailerEnd;
                return ++_trailers <= MaxTrailers && (c == '\r' || IsPrintable(c) || c == '\t') && !(isFirst && c is (byte)' ' or (byte)'\t');
            case State.TrailerEnd:
                _line = 0;
                _state = State.Trailer;
                return c == '\n';
            case State.LastEnd:
                _state = State.Complete;
                return c == '\n';
            default:
                return false;
        }
    }

    private static bool IsPrintable(byte c) => c is >= (byte)' ' and not 0x7f;

    private static int Hex(byte c) => char.IsAsciiHexDigit((char)c) ? Convert.ToInt32(((char)c).ToString(), 16) : -1;
}
