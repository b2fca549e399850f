using Xfn.Core.Options;

namespace Xfn.Core.Cgroups;

/// <summary>What the processes of a run may use together. Null is no limit.</summary>
/// <param name="MemoryBytes">Memory, page cache and tmpfs included; swap is not added to it.</param>
/// <param name="MemoryIsOptional">Whether nobody asked for that: it is enforced only where it can be.</param>
/// <param name="Expected">Controllers of limits that come later: to move a process there then may take 10 ms.</param>
/// <param name="CpuMilli">Thousandths of a processor.</param>
/// <param name="Pids">Processes and threads.</param>
/// <param name="PidsAreRequired">Whether those were asked for and must be enforced; the default is if possible.</param>
internal sealed record CgroupLimits(
    long? MemoryBytes = null, bool MemoryIsOptional = false, CgroupControllers Expected = CgroupControllers.None,
    long? CpuMilli = null, long? Pids = null, bool PidsAreRequired = false)
{
    /// <summary>The controllers without which these limits mean nothing.</summary>
    public CgroupControllers Required =>
        (MemoryBytes is null || MemoryIsOptional ? 0 : CgroupControllers.Memory) | (CpuMilli is null ? 0 : CgroupControllers.Cpu) | (Pids is null || !PidsAreRequired ? 0 : CgroupControllers.Pids);

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
    Pids = 4,
}

/// <summary>What the processes of a run have used together: user and system time; the most memory at once, page cache
/// and tmpfs included; and how many of them the kernel killed because the memory limit was reached. Null is unknown: no
/// cgroup counted it.</summary>
internal sealed record CgroupUsage(TimeSpan? CpuTime = null, long? PeakMemoryBytes = null, long OutOfMemoryKills = 0);
