using System.Buffers;
using System.Net.Sockets;
using System.Text;

namespace Xfn.Core.Pipes;

/// <summary>What a run reads and writes.</summary>
internal sealed record RunStreams(Func<Stream, CancellationToken, Task> Input, IOutputSink Stdout, TailSink Stderr)
{
    private const int BufferBytes = 64 << 10;

    /// <summary>Whether the input is in memory: it is then fed before the function is there to read it. A stream is
    /// left alone until then, so that a run whose container did not start can be tried again.</summary>
    public bool IsBuffered { get; init; }

    /// <summary>What of stdout is kept.</summary>
    public ReadOnlyMemory<byte> Output => (Stdout as BufferSink)?.Content ?? default;

    /// <summary>Input and output in memory.</summary>
    public static RunStreams InMemory(ReadOnlyMemory<byte> input, long limit) =>
        new((stdin, token) => FeedAsync(stdin, () => stdin.WriteAsync(input, token)), new BufferSink(limit), new TailSink(null, limit)) { IsBuffered = true };

    /// <summary>The caller's streams.</summary>
    public static RunStreams Of(FunctionStreams streams) => new(
        (stdin, token) => FeedAsync(stdin, () => new ValueTask(streams.Stdin.CopyToAsync(stdin, BufferBytes, token))),
        new StreamSink(streams.Stdout),
        new TailSink(streams.Stderr, long.MaxValue));

    /// <summary>Feeds a program, and closes its stdin.</summary>
    public static async Task FeedAsync(Stream stdin, Func<ValueTask> feed)
    {
        const int brokenPipe = 32;
        await using (stdin.ConfigureAwait(false))
        {
            try
            {
                await feed().ConfigureAwait(false);
            }
            catch (IOException ex) when (ex.InnerException is SocketException { NativeErrorCode: brokenPipe } || (ex.HResult & 0xffff) == brokenPipe)
            {
                // A function need not read its input: a broken pipe says nothing about its success. Errors of the
                // caller's own stream are told apart: they come from no write to a pipe.
            }
        }
    }
}

/// <summary>Takes a function's output.</summary>
internal interface IOutputSink
{
    /// <summary>Whether the function wrote more than the sink may take.</summary>
    bool IsExceeded { get; }

    /// <summary>Takes a piece.</summary>
    /// <returns>Whether more is wanted.</returns>
    ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken);
}

/// <summary>Keeps an output, up to a limit.</summary>
internal sealed class BufferSink(long limit) : IOutputSink
{
    private readonly ArrayBufferWriter<byte> _buffer = new();

    public bool IsExceeded { get; private set; }

    public ReadOnlyMemory<byte> Content => _buffer.WrittenMemory;

    public ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        long room = limit - _buffer.WrittenCount;
        IsExceeded = piece.Length > room;
        _buffer.Write(IsExceeded ? piece.Span[..(int)room] : piece.Span);
        return new(!IsExceeded);
    }
}

/// <summary>Passes an output on.</summary>
internal sealed class StreamSink(Stream target) : IOutputSink
{
    public bool IsExceeded => false;

    public async ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        await target.WriteAsync(piece, cancellationToken).ConfigureAwait(false);
        return true;
    }
}

/// <summary>Keeps the last of an output, and passes all of it on.</summary>
/// <param name="target">Where to pass it on to; null for nowhere.</param>
/// <param name="limit">How many bytes may come.</param>
internal sealed class TailSink(Stream? target, long limit) : IOutputSink
{
    private const int Capacity = RunStatistics.StderrTailBytes;

    private byte[] _tail = [];
    private int _length;
    private long _total;

    public bool IsExceeded => _total > limit;

    public override string ToString()
    {
        ReadOnlySpan<byte> tail = _tail.AsSpan(0, _length);
        if (_total > _length)
        {
            // The cut may have gone through a character.
            while (tail.Length > 0 && (tail[0] & 0xC0) == 0x80)
                tail = tail[1..];
        }

        return Encoding.UTF8.GetString(tail);
    }

    public async ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        // Kept first: the target may never return from its write, and the tail is read then.
        _total += piece.Length;
        Keep(piece.Span);
        if (target is not null)
            await target.WriteAsync(piece, cancellationToken).ConfigureAwait(false);
        return !IsExceeded;
    }

    private void Keep(ReadOnlySpan<byte> piece)
    {
        if (piece.Length > Capacity)
            piece = piece[^Capacity..];
        if (_length + piece.Length > _tail.Length && _tail.Length < Capacity)
            Array.Resize(ref _tail, Math.Min(Capacity, Math.Max(1024, 2 * (_length + piece.Length))));
        int surplus = Math.Max(0, _length + piece.Length - Capacity);
        if (surplus > 0)
            _tail.AsSpan(surplus, _length - surplus).CopyTo(_tail);
        _length -= surplus;
        piece.CopyTo(_tail.AsSpan(_length));
        _length += piece.Length;
    }
}
