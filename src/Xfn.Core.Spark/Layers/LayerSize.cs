using Xfn.Core.Interop;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>How much a layer holds so far: held to its limit before anything is written.</summary>
internal sealed class LayerSize(SparkUnpack request, TarReader reader, int directory)
{
    private readonly long _blockBytes = BlockBytes(directory);
    private long _fileBytes;

    /// <summary>What it takes on disk: blocks of data, and one for a directory, a link, a FIFO, a whiteout.</summary>
    public long DiskBytes { get; private set; }

    /// <summary>Counts the reader's entry.</summary>
    public void AddEntry()
    {
        TarEntry entry = reader.Entry;
        long disk = entry.Kind switch
        {
            TarEntryKind.File => entry.IsSparse ? SparseBytes(entry.Segments) : entry.DataBytes,
            TarEntryKind.Directory or TarEntryKind.SymbolicLink or TarEntryKind.Fifo => _blockBytes,
            _ => 0,
        };

        // One header for all entries can give attributes to each of them.
        foreach ((_, Range value) in entry.Attributes)
            disk += value.End.Value - value.Start.Value;
        Add(Math.Max(entry.FileBytes, entry.DataBytes), disk);
    }

    /// <summary>Counts what is made without an entry, or copied from the layers below.</summary>
    public void AddOnDisk(long bytes) => Add(0, bytes);

    private void Add(long fileBytes, long diskBytes)
    {
        // In this order: a number from an archive may be near the largest there is.
        if (fileBytes > request.MaxBytes - _fileBytes || diskBytes > request.MaxBytes - DiskBytes || (diskBytes = Blocks(diskBytes)) > request.MaxBytes - DiskBytes)
            throw reader.OverLimit($"with it the layer has more than {request.MaxBytes} bytes", "MaxLayerBytes");
        _fileBytes += fileBytes;
        DiskBytes += diskBytes;
    }

    /// <summary>What the segments take: of small ones each may lie in a block of its own, and several in one.</summary>
    private long SparseBytes(List<(long Offset, long Length)> segments)
    {
        long blocks = 0, next = 0;
        foreach ((long offset, long length) in segments)
        {
            if (length == 0)
                continue;
            long last = (offset + length - 1) / _blockBytes;
            blocks += last + 1 - Math.Max(next, offset / _blockBytes);
            next = last + 1;
        }

        return Math.Min(blocks, long.MaxValue / _blockBytes) * _blockBytes;
    }

    private long Blocks(long bytes) => bytes + (_blockBytes - 1) & -_blockBytes;

    /// <summary>The size of a block of the file system that a directory is in. A tmpfs has the machine's pages. Some
    /// give the size of a transfer instead, as NFS does: that is no measure of small files.</summary>
    private static long BlockBytes(int directory)
    {
        const long usual = 4096, largestPage = 65536;
        return Libc.fstatfs(directory, out Libc.FileSystemStatus status) == 0 && status.BlockBytes <= largestPage && long.IsPow2(status.BlockBytes)
            ? status.BlockBytes
            : usual;
    }
}
