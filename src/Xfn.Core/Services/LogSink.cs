using System.Text;
using Xfn.Core.Pipes;

namespace Xfn.Core.Services;

/// <summary>Splits one of a container's outputs into the lines of its log.</summary>
/// <param name="ring">The log.</param>
/// <param name="source">Which output.</param>
/// <param name="maxLineBytes">How long a line may be; at least as long as a character.</param>
/// <param name="time">The clock.</param>
internal sealed class LogSink(LogRing ring, LogSource source, int maxLineBytes, TimeProvider time) : IOutputSink
{
    // The beginning of a line whose end has not come yet.
    private byte[] _open = [];
    private int _openBytes;

    public bool IsExceeded => false;

    public ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        long now = time.GetUtcNow().UtcTicks;
        ReadOnlySpan<byte> rest = piece.Span;
        while (rest.IndexOf((byte)'\n') is >= 0 and var length)
        {
            // Most lines come whole.
            ReadOnlySpan<byte> line = rest[..length];
            rest = rest[(length + 1)..];
            if (_openBytes == 0 && line.Length <= maxLineBytes)
            {
                ring.Add(now, source, line, isPartial: false);
                continue;
            }

            Extend(line, now);
            EndLine(now);
        }

        Extend(rest, now);
        return new(true);
    }

    /// <summary>Ends a last line that has no line feed.</summary>
    public void Finish()
    {
        if (_openBytes > 0)
            EndLine(time.GetUtcNow().UtcTicks);
    }

    private void EndLine(long now)
    {
        ring.Add(now, source, _open.AsSpan(0, _openBytes), isPartial: false);
        _openBytes = 0;
    }

    /// <summary>Adds to the open line. What is more than a line may have is split off.</summary>
    private void Extend(ReadOnlySpan<byte> part, long now)
    {
        while (part.Length > 0)
        {
            if (_openBytes == maxLineBytes)
                Split(now);
            int count = Math.Min(part.Length, maxLineBytes - _openBytes);
            if (_open.Length < _openBytes + count)
                Array.Resize(ref _open, Math.Min(maxLineBytes, Math.Max(256, 2 * (_openBytes + count))));
            part[..count].CopyTo(_open.AsSpan(_openBytes));
            _openBytes += count;
            part = part[count..];
        }
    }

    private void Split(long now)
    {
        ReadOnlySpan<byte> line = _open.AsSpan(0, _openBytes);

        // Not through a character: its bytes go to the next line.
        int begun = line.Length - 1;
        while (begun > line.Length - 4 && (line[begun] & 0xC0) == 0x80)
            begun--;
        int kept = Rune.DecodeFromUtf8(line[begun..], out _, out _) == System.Buffers.OperationStatus.NeedMoreData ? begun : line.Length;
        ring.Add(now, source, line[..kept], isPartial: true);
        line[kept..].CopyTo(_open);
        _openBytes -= kept;
    }
}

/// <summary>Reads one of a container's outputs into its log.</summary>
/// <param name="pipe">The output.</param>
/// <param name="sink">The log.</param>
/// <param name="cancellationToken">Ends it.</param>
internal sealed class LogReader(Stream pipe, LogSink sink, CancellationToken cancellationToken) : IDisposable
{
    // On a thread of the pool: a program that never stops writing would keep the caller's.
    private readonly OutputReader _reader = new(pipe, sink, isForeign: true, cancellationToken);

    /// <summary>To be called when the container has ended. Ends when all that it wrote is in the log. Never faults.
    /// </summary>
    public async Task FinishAsync()
    {
        await _reader.FinishAsync().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        sink.Finish();
    }

    public void Dispose() => _reader.Dispose();
}
