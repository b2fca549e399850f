using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text;

namespace Xfn.Core.Services;

/// <summary>The last lines that a container wrote, up to a number of bytes. Whoever writes never waits.</summary>
/// <remarks>One array holds lines behind one another, each behind a header. Positions count from the first line ever
/// written, and a place in the array is a position modulo its size. Safe for many threads.</remarks>
/// <param name="capacity">How many bytes are kept, headers included.</param>
internal sealed class LogRing(int capacity)
{
    /// <summary>The time in ticks, the length of the text, and what it is.</summary>
    public const int HeaderBytes = 16;

    private const int FirstBytes = 4096;
    private const int PartialFlag = 0x100;

    private readonly Lock _lock = new();
    private byte[] _bytes = new byte[Math.Min(FirstBytes, capacity)];

    // The oldest line that is kept: its position, and how many came before it.
    private long _start;
    private long _startNumber;
    private long _end;
    private TaskCompletionSource? _more;
    private bool _closed;

    /// <summary>Adds a line.</summary>
    /// <param name="time">When it came, in ticks of UTC.</param>
    /// <param name="source">Whence.</param>
    /// <param name="text">Its text; not more than a quarter of the capacity, so that there is room for some.</param>
    /// <param name="isPartial">Whether it goes on in the next.</param>
    public void Add(long time, LogSource source, ReadOnlySpan<byte> text, bool isPartial)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        BinaryPrimitives.WriteInt64LittleEndian(header, time);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], text.Length);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], (int)source | (isPartial ? PartialFlag : 0));
        TaskCompletionSource? more;
        lock (_lock)
        {
            MakeRoom(HeaderBytes + text.Length);
            Write(header);
            Write(text);
            (more, _more) = (_more, null);
        }

        more?.TrySetResult();
    }

    /// <summary>Says that no line will come any more.</summary>
    public void Close()
    {
        TaskCompletionSource? more;
        lock (_lock)
        {
            _closed = true;
            (more, _more) = (_more, null);
        }

        more?.TrySetResult();
    }

    /// <summary>Reads from the oldest line.</summary>
    /// <param name="follow">Whether to wait for further lines until there will be none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async IAsyncEnumerable<LogLine> ReadAsync(bool follow, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long position = 0, number = 0;
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (TryRead(ref position, ref number, out LogLine line, follow, out Task? more))
                yield return line;
            else if (more is null)
                yield break;
            else
                await more.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The last lines, those of both sources, each with a line feed; no more than a number of bytes.</summary>
    public string Tail(int bytes)
    {
        // Lines cannot be read backwards, and an error is worth a walk through all.
        var lines = new Queue<string>();
        long position = 0, number = 0;
        int length = 0;
        while (TryRead(ref position, ref number, out LogLine line, follow: false, out _))
        {
            string text = line.IsPartial ? line.Text : line.Text + "\n";
            lines.Enqueue(text);
            length += text.Length;
            while (length > bytes && lines.Count > 1)
                length -= lines.Dequeue().Length;
        }

        string tail = string.Concat(lines);
        return tail.Length > bytes ? tail[^bytes..] : tail;
    }

    private bool TryRead(ref long position, ref long number, out LogLine line, bool follow, out Task? more)
    {
        more = null;
        line = default;
        lock (_lock)
        {
            long lost = 0;
            if (position < _start)
            {
                lost = _startNumber - number;
                (position, number) = (_start, _startNumber);
            }

            if (position == _end)
            {
                if (follow && !_closed)
                    more = (_more ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
                return false;
            }

            (long time, int length, int kind) = Header(position);
            line = new LogLine
            {
                Time = new DateTimeOffset(time, TimeSpan.Zero),
                Source = (LogSource)(kind & 0xff),
                Text = Text(position + HeaderBytes, length),
                IsPartial = (kind & PartialFlag) != 0,
                LostBefore = lost,
            };
            position += HeaderBytes + length;
            number++;
            return true;
        }
    }

    /// <summary>Grows the array up to the capacity, then drops the oldest lines.</summary>
    private void MakeRoom(int count)
    {
        while (_bytes.Length < capacity && _end - _start + count > _bytes.Length)
            Grow();
        while (_end - _start + count > _bytes.Length)
        {
            _start += HeaderBytes + Header(_start).Length;
            _startNumber++;
        }
    }

    private void Grow()
    {
        byte[] before = _bytes;
        _bytes = new byte[(int)Math.Min(capacity, 2L * before.Length)];
        long end = _end;
        _end = _start;
        for (long at = _start; at < end;)
        {
            int from = (int)(at % before.Length), count = (int)Math.Min(before.Length - from, end - at);
            Write(before.AsSpan(from, count));
            at += count;
        }
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        int at = (int)(_end % _bytes.Length), first = Math.Min(bytes.Length, _bytes.Length - at);
        bytes[..first].CopyTo(_bytes.AsSpan(at));
        bytes[first..].CopyTo(_bytes);
        _end += bytes.Length;
    }

    private (long Time, int Length, int Kind) Header(long position)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        Read(position, header);
        return (BinaryPrimitives.ReadInt64LittleEndian(header), BinaryPrimitives.ReadInt32LittleEndian(header[8..]), BinaryPrimitives.ReadInt32LittleEndian(header[12..]));
    }

    private string Text(long position, int length)
    {
        int at = (int)(position % _bytes.Length);
        if (at + length <= _bytes.Length)
            return Encoding.UTF8.GetString(_bytes, at, length);
        var text = new byte[length];
        Read(position, text);
        return Encoding.UTF8.GetString(text);
    }

    private void Read(long position, Span<byte> bytes)
    {
        int at = (int)(position % _bytes.Length), first = Math.Min(bytes.Length, _bytes.Length - at);
        _bytes.AsSpan(at, first).CopyTo(bytes);
        _bytes.AsSpan(0, bytes.Length - first).CopyTo(bytes[first..]);
    }
}
