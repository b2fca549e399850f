using Xfn.Core.Options;

namespace Xfn.Core.Cgroups;

/// <summary>What the processes of a run may use together. Null is no limit.</summary>
internal sealed record CgroupLimits
{
    /// <summary>Memory in bytes, page cache and tmpfs included; swap is not added to it.</summary>
    public long? MemoryBytes { get; init; }

    /// <summary>Whether nobody asked for <see cref="MemoryBytes"/>: it is enforced only where it can be.</summary>
    public bool MemoryIsOptional { get; init; }

    /// <summary>Controllers of limits that come later: to move a process there then may take 10 ms.</summary>
    public CgroupControllers Expected { get; init; }

    /// <summary>Thousandths of a processor.</summary>
    public long? CpuMilli { get; init; }

    /// <summary>Processes and threads.</summary>
    public long? Pids { get; init; }

    /// <summary>Whether <see cref="Pids"/> was asked for and must be enforced; the default is if possible.</summary>
    public bool PidsAreRequired { get; init; }

    /// <summary>The controllers without which these limits mean nothing.</summary>
    public CgroupControllers Required =>
        (MemoryBytes is null || MemoryIsOptional ? 0 : CgroupControllers.Memory) | (CpuMilli is null ? 0 : CgroupControllers.Cpu) | (Pids is null || !PidsAreRequired ? 0 : CgroupControllers.Pids);

    /// <summary>The controllers that these limits use.</summary>
    public CgroupControllers Wanted => Required | Expected | (MemoryBytes is null ? 0 : CgroupControllers.Memory) | (Pids is null ? 0 : CgroupControllers.Pids);

    /// <exception cref="InvalidRequestException">A limit is out of range.</exception>
    public static CgroupLimits From(ResourceLimits limits, long pids = BundleOptions.DefaultProcessLimit, bool pidsAreRequired = false) => new()
    {
        MemoryBytes = limits.MemoryBytes is { } memory ? Quantity.CheckMemory(memory, "memory limit") : null,
        CpuMilli = limits.Cpus is { } cpus ? Quantity.ToCpuMilli(cpus, "cpu limit") : null,
        Pids = pids,
        PidsAreRequired = pidsAreRequired,
    };
}

[Flags]
internal enum CgroupControllers
{
    None = 0,
    Memory = 1,
    Cpu = 2,

    /// <summary>Of processes and threads.</summary>
    Pids = 4,
}

/// <summary>What the processes of a run have used together. Null is unknown: no cgroup counted it.</summary>
internal sealed record CgroupUsage
{
    /// <summary>User and system time.</summary>
    public TimeSpan? CpuTime { get; init; }

    /// <summary>The most memory at once, in bytes, page cache and tmpfs included.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>How many processes the kernel killed because the memory limit was reached.</summary>
    public long OutOfMemoryKills { get; init; }
}
