using System.Buffers;
using System.Net.Sockets;

namespace Xfn.Core.Egress;

/// <summary>What was read of a connection ahead of what was understood, in a buffer of
/// <see cref="SocketRelay.BufferBytes"/>.</summary>
internal sealed class EgressInput(Socket socket) : IDisposable
{
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(SocketRelay.BufferBytes);
    private int _start;
    private int _end;

    public ReadOnlyMemory<byte> Unused => _buffer.AsMemory(_start.._end);

    public bool IsFull => _end - _start == SocketRelay.BufferBytes;

    /// <summary>Has bytes been used.</summary>
    public void Use(int count) => _start += count;

    /// <summary>Reads more; false at the end.</summary>
    /// <exception cref="InvalidOperationException">The buffer is full.</exception>
    public async ValueTask<bool> ReadAsync(CancellationToken cancellationToken)
    {
        if (IsFull)
            throw new InvalidOperationException("no room to read into");
        if (_start == _end)
            (_start, _end) = (0, 0);
        if (_end == SocketRelay.BufferBytes)
        {
            _buffer.AsSpan(_start.._end).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        int count = await socket.ReceiveAsync(_buffer.AsMemory(_end, SocketRelay.BufferBytes - _end), cancellationToken).ConfigureAwait(false);
        _end += count;
        return count > 0;
    }

    /// <summary>Reads the head of an HTTP message.</summary>
    /// <returns>Its length; 0 and what is wrong with it, as a clause; 0 and null where the connection ended
    /// before.</returns>
    public async ValueTask<(int Length, string? Found)> ReadHeadAsync(CancellationToken cancellationToken)
    {
        int line = 0;
        while (true)
        {
            if (EgressHttpHead.FindEnd(Unused.Span, ref line, out bool isMalformed) is var length and > 0)
                return (length, null);
            if (isMalformed)
                return (0, "a line ends by a line feed alone");
            if (IsFull)
                return (0, $"its head is longer than {SocketRelay.BufferBytes} bytes");
            if (!await ReadAsync(cancellationToken).ConfigureAwait(false))
                return (0, null);
        }
    }

    /// <summary>Gives the buffer back, once.</summary>
    public void Dispose()
    {
        if (_buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }
}
