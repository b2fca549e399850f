using System.Buffers;
using System.Text;

namespace Xfn.Core.Pipes;

/// <summary>Keeps all of an output, up to a limit.</summary>
internal sealed class BufferSink(long limit) : IOutputSink
{
    private readonly ArrayBufferWriter<byte> _buffer = new();

    public bool IsExceeded { get; private set; }

    public ReadOnlyMemory<byte> Content => _buffer.WrittenMemory;

    public ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        IsExceeded = piece.Length > limit - _buffer.WrittenCount;
        if (!IsExceeded)
            _buffer.Write(piece.Span);
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
