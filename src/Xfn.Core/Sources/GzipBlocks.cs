using System.IO.Compression;

namespace Xfn.Core.Sources;

/// <summary>Compresses with gzip on all processors: each block of a MiB becomes a member of its own, so the bytes do not
/// depend on how many there are.</summary>
/// <remarks>A file of several members is a file of gzip's
/// (<see href="https://www.rfc-editor.org/rfc/rfc1952#section-2.2">RFC 1952, 2.2</see>).</remarks>
internal sealed class GzipBlocks(Stream destination) : WriteStream
{
    private const int BlockBytes = 1 << 20;

    // Twice what works at once, so that no processor waits for the next block.
    private static readonly int MostWaiting = 2 * Environment.ProcessorCount;

    private readonly Queue<Task<MemoryStream>> _blocks = new();
    private byte[] _block = new byte[BlockBytes];
    private int _filled;
    private bool _any;

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            int count = Math.Min(buffer.Length, BlockBytes - _filled);
            buffer[..count].CopyTo(_block.AsMemory(_filled));
            buffer = buffer[count..];
            _filled += count;
            if (_filled == BlockBytes)
                await SendBlockAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Writes what is left.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        if (_filled > 0 || !_any)
            await SendBlockAsync(cancellationToken).ConfigureAwait(false);
        while (_blocks.Count > 0)
            await WriteBlockAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task SendBlockAsync(CancellationToken cancellationToken)
    {
        (byte[] block, int filled) = (_block, _filled);
        _blocks.Enqueue(Task.Run(() => Compress(block.AsSpan(0, filled)), cancellationToken));
        (_block, _filled, _any) = (new byte[BlockBytes], 0, true);
        if (_blocks.Count > MostWaiting)
            await WriteBlockAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task WriteBlockAsync(CancellationToken cancellationToken)
    {
        using MemoryStream compressed = await _blocks.Dequeue().ConfigureAwait(false);
        await destination.WriteAsync(compressed.GetBuffer().AsMemory(0, (int)compressed.Length), cancellationToken).ConfigureAwait(false);
    }

    private static MemoryStream Compress(ReadOnlySpan<byte> block)
    {
        var compressed = new MemoryStream(block.Length / 2);
        using (var gzip = new GZipStream(compressed, CompressionLevel.Optimal, leaveOpen: true))
            gzip.Write(block);
        return compressed;
    }
}
