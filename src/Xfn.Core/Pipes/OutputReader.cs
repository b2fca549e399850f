using System.Buffers;
using System.Diagnostics;
using System.IO.Pipes;
using System.Text;
using Xfn.Core.Interop;

namespace Xfn.Core.Pipes;

/// <summary>Reads one of a function's output streams to its end, passing it on as it comes.</summary>
internal sealed class OutputReader : IDisposable
{
    private const int BufferBytes = 64 << 10;

    /// <summary>How long to read after the end: only a process outside of the run can hold the pipe open.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromMilliseconds(50);

    private readonly Stream _source;
    private readonly IOutputSink _sink;
    private readonly CancellationTokenSource _quiet = new();
    private volatile bool _ended;

    /// <summary>Starts reading.</summary>
    /// <param name="source">The pipe.</param>
    /// <param name="sink">Takes what is read; false from it ends the reading.</param>
    /// <param name="isForeign">Whether the sink is somebody else's, and may block the thread that writes to it.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public OutputReader(Stream source, IOutputSink sink, bool isForeign, CancellationToken cancellationToken)
    {
        (_source, _sink) = (source, sink);
        Completion = isForeign ? Task.Run(() => ReadAsync(cancellationToken), CancellationToken.None) : ReadAsync(cancellationToken);
    }

    /// <summary>Ends at the end of the stream, or when the sink takes no more.</summary>
    public Task Completion { get; }

    /// <summary>To be called when the function has ended.</summary>
    /// <returns>Ends when everything that it wrote has been passed on.</returns>
    public Task FinishAsync()
    {
        _ended = true;
        if (!Completion.IsCompleted)
            _quiet.CancelAfter(Quiet);
        return Completion;
    }

    public void Dispose() => _quiet.Dispose();

    private async Task ReadAsync(CancellationToken cancellationToken)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            if (!await ReadUntilEndedAsync(buffer, cancellationToken).ConfigureAwait(false))
                return;
            if (_source is PipeStream pipe)
                await ReadRestAsync(pipe, buffer, cancellationToken).ConfigureAwait(false);
            else
                await ReadUntilQuietAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <returns>Whether there may be more: the function has ended, and neither the stream nor the sink has.</returns>
    private async Task<bool> ReadUntilEndedAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_quiet.Token, cancellationToken);
        while (!_ended)
        {
            int count;
            try
            {
                count = await _source.ReadAsync(buffer, either.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (_ended && !cancellationToken.IsCancellationRequested)
            {
                return true;
            }

            if (count == 0 || !await PassOnAsync(buffer[..count], cancellationToken).ConfigureAwait(false))
                return false;
        }

        return true;
    }

    /// <summary>Reads what lies in a pipe, and nothing that is written to it from now on.</summary>
    private async Task ReadRestAsync(PipeStream pipe, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        for (int left = Posix.BytesIn(pipe.SafePipeHandle); left > 0;)
        {
            int count = await pipe.ReadAsync(buffer[..Math.Min(buffer.Length, left)], cancellationToken).ConfigureAwait(false);
            if (count == 0 || !await PassOnAsync(buffer[..count], cancellationToken).ConfigureAwait(false))
                return;
            left -= count;
        }
    }

    /// <summary>Reads a stream of unknown length. Only time in reads counts, in sum: the sink may be slow.</summary>
    private async Task ReadUntilQuietAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        for (TimeSpan waited = TimeSpan.Zero; waited < Quiet;)
        {
            using var quiet = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            quiet.CancelAfter(Quiet - waited);
            long start = Stopwatch.GetTimestamp();
            try
            {
                int count = await _source.ReadAsync(buffer, quiet.Token).ConfigureAwait(false);
                waited += Stopwatch.GetElapsedTime(start);
                if (count == 0 || !await PassOnAsync(buffer[..count], cancellationToken).ConfigureAwait(false))
                    return;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                return;
            }
        }
    }

    /// <returns>Whether the sink takes more.</returns>
    private async ValueTask<bool> PassOnAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        bool wantsMore = await _sink.WriteAsync(piece, cancellationToken).ConfigureAwait(false);

        // Nobody may wait for this any more, when the sink did not heed the token.
        cancellationToken.ThrowIfCancellationRequested();
        return wantsMore;
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

    private readonly Lock _lock = new();
    private byte[] _tail = [];
    private int _length;
    private long _total;

    public bool IsExceeded => _total > limit;

    public override string ToString()
    {
        lock (_lock)
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
    }

    public async ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        // Kept first: the target may never return from its write, and the tail is read then, by another thread.
        lock (_lock)
        {
            _total += piece.Length;
            Keep(piece.Span);
        }

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
