using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Connections;

namespace Xfn.Core.Server;

/// <summary>The memory of a server's connections and requests, in blocks that hold a whole turn of a connection, which
/// is read into one block at a time. Kestrel's own have 4 KiB: a message then takes four times as many reads, and as
/// many wake-ups of whoever reads on.</summary>
internal sealed class BlockPool : MemoryPool<byte>, IMemoryPoolFactory<byte>
{
    public const int BlockBytes = 16 << 10;

    /// <summary>How many blocks are kept for later: 16 MiB.</summary>
    private const int MostUnused = 1024;

    private readonly ConcurrentQueue<Block> _unused = new();

    public override int MaxBufferSize => BlockBytes;

    /// <summary>One for all who ask: Kestrel has a queue for each processor, and would have a pool for each
    /// queue.</summary>
    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => this;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minBufferSize, BlockBytes);
        return _unused.TryDequeue(out Block? block) ? block : new Block(this);
    }

    /// <summary>The first of those who share it may be done before the others.</summary>
    protected override void Dispose(bool disposing)
    {
    }

    private sealed class Block(BlockPool pool) : IMemoryOwner<byte>
    {
        // It may be lent for long, and would stand in the collector's way.
        public Memory<byte> Memory { get; } = MemoryMarshal.CreateFromPinnedArray(GC.AllocateUninitializedArray<byte>(BlockBytes, pinned: true), 0, BlockBytes);

        public void Dispose()
        {
            if (pool._unused.Count < MostUnused)
                pool._unused.Enqueue(this);
        }
    }
}
