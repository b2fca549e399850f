namespace Xfn.Core;

/// <summary>What a container uses. What its cgroups do not count is null: everything where this process may make none;
/// on version 1 of cgroups what has no limit.</summary>
public sealed record ContainerStatistics
{
    /// <summary>The processor time of all of its programs so far, those that were executed in it later
    /// included.</summary>
    public TimeSpan? CpuTime { get; init; }

    /// <summary>The memory that they have now, in bytes, page cache and tmpfs included. Null too once it has
    /// ended.</summary>
    public long? MemoryBytes { get; init; }

    /// <summary>The most memory that they had at once, in bytes.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>The memory that they may have, in bytes. Null for no limit.</summary>
    public long? MemoryLimitBytes { get; init; }

    /// <summary>How many processes there are now. Null too once it has ended.</summary>
    public int? Processes { get; init; }
}
