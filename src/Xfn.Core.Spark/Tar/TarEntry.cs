namespace Xfn.Core.Spark.Tar;

/// <summary>What an entry is.</summary>
internal enum TarEntryKind
{
    File,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// <summary>An entry of an archive. There is one for all of them: the reader fills it anew.</summary>
internal sealed class TarEntry
{
    public TarEntryKind Kind { get; set; }

    /// <summary>The name as the archive has it, byte for byte.</summary>
    public GrowingBytes Name { get; } = new();

    /// <summary>What a link points to.</summary>
    public GrowingBytes LinkName { get; } = new();

    /// <summary>Permissions with setuid, setgid and sticky bits.</summary>
    public uint Mode { get; set; }

    public uint Uid { get; set; }

    public uint Gid { get; set; }

    public long ModifiedSeconds { get; set; }

    public uint ModifiedNanoseconds { get; set; }

    /// <summary>Bytes that the archive has for it, without the sparse map.</summary>
    public long DataBytes { get; set; }

    /// <summary>The file's size: more than <see cref="DataBytes"/> when it has holes.</summary>
    public long FileBytes { get; set; }

    /// <summary>Where a sparse file's data go: ascending, apart, as many bytes as <see cref="DataBytes"/>.</summary>
    public List<(long Offset, long Length)> Segments { get; } = [];

    public bool IsSparse { get; set; }

    /// <summary>Extended attributes: where in <see cref="PaxRecords"/> their names and values are.</summary>
    public List<(Range Name, Range Value)> Attributes { get; } = [];

    /// <summary>The records that hold for the entry: those for all first, then its own.</summary>
    public GrowingBytes PaxRecords { get; } = new();

    /// <summary>Where in the archive its header is.</summary>
    public long Offset { get; set; }
}
