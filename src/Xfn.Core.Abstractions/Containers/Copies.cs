namespace Xfn.Core;

/// <summary>How much may be copied into a container or out of it at once. A copy that goes over a limit
/// fails.</summary>
public sealed record CopyLimits
{
    /// <summary>How many bytes the files may have in all. 1 GiB by default; at least 0.</summary>
    public long MaxBytes { get; init; } = 1L << 30;

    /// <summary>How many files, directories and links there may be. 100,000 by default; at least 1.</summary>
    public long MaxEntries { get; init; } = 100_000;
}

/// <summary>What was copied into a container.</summary>
public sealed record CopyReport
{
    /// <summary>How many files, directories and links there were.</summary>
    public required long Entries { get; init; }

    /// <summary>How many bytes the files had.</summary>
    public required long Bytes { get; init; }

    /// <summary>What was left out or changed, and why: devices, FIFOs, owners that cannot be set. At most 100 lines;
    /// the last says how many more.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }
}
