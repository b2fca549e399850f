extern alias spark;

using System.Runtime.InteropServices;
using System.Text;
using spark::Xfn.Core.Spark.Tar;

namespace Xfn.Core.Fuzzing;

/// <summary>spark's tar reader over a file in memory.</summary>
internal static class TarTarget
{
    private const int Block = 512;

    private static readonly MemoryFile Archive = new();

    public static void Read(byte[] input)
    {
        using var tar = new TarInput(Archive.Open(input));
        var reader = new TarReader(tar);
        for (long entries = 0; reader.Next(); entries++)
        {
            Targets.Demand(entries <= input.Length / Block, "every entry has a block of its own");
            TarEntry entry = reader.Entry;
            Targets.Demand(reader.DataLeft >= 0 && entry.DataBytes >= 0 && entry.FileBytes >= 0, "sizes are not negative");
            ReadOnlySpan<byte> records = entry.PaxRecords.Span;
            foreach ((Range name, Range value) in entry.Attributes)
                Targets.Demand(records[name].Length > 0 | records[value].Length >= 0, "attributes lie within the records");
            CheckSegments(entry);
            for (long left = reader.DataLeft; left > 0;)
            {
                int taken = reader.TakeData(left).Length;
                Targets.Demand(taken > 0 && taken <= left, "data comes, and not too much of it");
                left -= taken;
            }
        }

        reader.Drain();
    }

    private static void CheckSegments(TarEntry entry)
    {
        if (!entry.IsSparse)
            return;
        long end = 0, sum = 0;
        foreach ((long offset, long length) in entry.Segments)
        {
            Targets.Demand(offset >= end && length >= 0 && offset <= entry.FileBytes - length, "segments ascend and lie within the file");
            end = offset + length;
            sum += length;
        }

        Targets.Demand(sum == entry.DataBytes, "segments are as many bytes as the data");
    }

    /// <summary>Else nearly every changed archive would end at its first header.</summary>
    public static byte[] MendChecksums(byte[] archive)
    {
        for (int at = 0; at + Block <= archive.Length; at += Block)
        {
            Span<byte> header = archive.AsSpan(at, Block);
            if (!header.Slice(257, 5).SequenceEqual("ustar"u8))
                continue;
            header.Slice(148, 8).Fill((byte)' ');
            int sum = 0;
            foreach (byte b in header)
                sum += b;
            Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ").CopyTo(header[148..]);
        }

        return archive;
    }
}

/// <summary>A file of the kernel's that has no name, for what reads descriptors and paths.</summary>
internal sealed unsafe partial class MemoryFile
{
    private readonly int _fd;

    public MemoryFile() => _fd = memfd_create("input", 0);

    /// <summary>A descriptor at the beginning of these bytes. It stays the file's.</summary>
    public int Open(ReadOnlySpan<byte> bytes)
    {
        bool written = ftruncate(_fd, 0) == 0 && lseek(_fd, 0, 0) == 0;
        fixed (byte* first = bytes)
            written = written && write(_fd, first, (nuint)bytes.Length) == bytes.Length;
        return written && lseek(_fd, 0, 0) == 0 ? _fd : throw new IOException("cannot write a file in memory");
    }

    /// <summary>A path to these bytes.</summary>
    public string PathOf(ReadOnlySpan<byte> bytes) => $"/proc/self/fd/{Open(bytes)}";

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc")]
    private static partial int ftruncate(int fd, nint length);

    [LibraryImport("libc")]
    private static partial nint lseek(int fd, nint offset, int whence);

    [LibraryImport("libc")]
    private static partial nint write(int fd, byte* bytes, nuint count);
}
