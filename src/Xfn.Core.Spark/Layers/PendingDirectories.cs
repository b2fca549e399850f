using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Modes, owners and times of directories. They are set when all is unpacked: a new entry changes the
/// directory's time, its mode may forbid writing, and a setgid bit or a foreign group would be inherited.</summary>
internal sealed unsafe class PendingDirectories(int rootFd, MemoryBudget budget)
{
    private readonly List<Record> _records = [];

    /// <summary>Remembers what a directory shall have; the last record of one counts. The path has no links.</summary>
    public void Add(ReadOnlySpan<byte> path, in Metadata metadata)
    {
        budget.Take(path.Length + sizeof(Metadata));
        _records.Add(new Record(path.ToArray(), metadata));
    }

    public void Apply()
    {
        byte[] openPath = [];
        int parent = -1;
        Span<byte> buffer = stackalloc byte[EntryPath.MaxComponentBytes + 1];
        try
        {
            foreach (Record record in _records)
            {
                ReadOnlySpan<byte> parentPath = EntryPath.Parent(record.Path);
                if (parent < 0 || !parentPath.SequenceEqual(openPath))
                {
                    if (parent >= 0)
                        _ = Libc.close(parent);
                    openPath = parentPath.ToArray();
                    parent = ConfinedPath.Open(rootFd, parentPath);
                }

                // A later entry put something else in the place of the directory, or of one above it.
                if (parent < 0)
                    continue;
                ReadOnlySpan<byte> name = EntryPath.Terminate(EntryPath.Name(record.Path), buffer);
                if (Libc.Status(parent, name, out Libc.FileStatus status) == 0 && status.Type == Libc.S_IFDIR)
                    Apply(parent, name, record, status);
            }
        }
        finally
        {
            if (parent >= 0)
                _ = Libc.close(parent);
        }
    }

    private static void Apply(int parent, ReadOnlySpan<byte> name, Record record, in Libc.FileStatus status)
    {
        Metadata m = record.Metadata;
        // Owner first: that clears setuid and setgid bits. chmod follows links: this is none, and nobody else is here.
        bool own = status.Uid != m.Uid || status.Gid != m.Gid;
        if (own && Libc.fchownat(parent, name, m.Uid, m.Gid, Libc.AT_SYMLINK_NOFOLLOW) != 0
            || (own || status.Permissions != m.Mode) && Libc.fchmodat(parent, name, m.Mode, 0) != 0
            || Libc.utimensat(parent, name, m.Modified) != 0)
            throw SparkException.FromErrno($"cannot set mode, owner and time of directory '{ByteText.Show(record.Path)}'");
    }

    private readonly record struct Record(byte[] Path, Metadata Metadata);
}

/// <summary>Mode, owner and time.</summary>
internal readonly record struct Metadata(uint Mode, uint Uid, uint Gid, Libc.TimeSpec Modified)
{
    /// <summary>The bits of a mode that are set last: changing the owner clears some, and new entries inherit one.</summary>
    public const uint SpecialBits = 0xE00;

    public uint PlainMode => Mode & ~SpecialBits;

    /// <summary>For directories without an entry: all may enter, and a layer always makes the same tree.</summary>
    public static Metadata Implied { get; } = new(0b111_101_101, 0, 0, default);

    public static Metadata Of(in Libc.FileStatus status) => new(status.Permissions, status.Uid, status.Gid, status.Modified);

    /// <summary>Gives owner and mode to a file that was just made, with its plain mode.</summary>
    /// <returns>Whether that went well; if not, there is an error number.</returns>
    public bool TryGiveTo(int fd) =>
        // Owner first: changing it clears setuid and setgid bits, and capabilities.
        ((Uid | Gid) == 0 || Libc.fchown(fd, Uid, Gid) == 0) && ((Mode & SpecialBits) == 0 || Libc.fchmod(fd, Mode) == 0);
}

/// <summary>What must be remembered to the end of a layer, bounded: paths are long where an archive is made to exhaust
/// memory.</summary>
internal sealed class MemoryBudget
{
    private const long MaxBytes = 256 << 20;

    private long _used;

    public void Take(int bytes)
    {
        _used += bytes + 64;
        if (_used > MaxBytes)
            throw new SparkException(SparkFailureKind.Limit, $"cannot unpack the layer: the names of its directories and whiteouts take more than {MaxBytes} bytes");
    }
}
