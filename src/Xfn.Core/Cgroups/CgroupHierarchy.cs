namespace Xfn.Core.Cgroups;

/// <summary>A hierarchy that runs get cgroups in, and the files by which it is told what they may use.</summary>
internal abstract class CgroupHierarchy(string baseDirectory, CgroupControllers controllers)
{
    /// <summary>How long a period of the processor's time is, in microseconds: the kernel's default.</summary>
    protected const long CpuPeriodMicroseconds = 100_000;

    /// <summary>The directory that the cgroups of runs are made in.</summary>
    public string BaseDirectory => baseDirectory;

    /// <summary>The controllers that this hierarchy is used for.</summary>
    public CgroupControllers Controllers => controllers;

    /// <summary>Makes the controllers work for the cgroups below <see cref="BaseDirectory"/>.</summary>
    public virtual void Enable(CgroupControllers controllers)
    {
    }

    /// <summary>Sets the limits of a cgroup that has none yet, those of <paramref name="controllers"/>.</summary>
    public void Apply(string directory, CgroupLimits limits, CgroupControllers controllers)
    {
        if (limits.MemoryBytes is { } memory && controllers.HasFlag(CgroupControllers.Memory))
            ApplyMemory(directory, memory);
        if (limits.CpuMilli is { } cpu && controllers.HasFlag(CgroupControllers.Cpu))
            ApplyCpu(directory, Math.Max(cpu * CpuPeriodMicroseconds / 1000, 1000), Math.Clamp(cpu * 1024 / 1000, 2, 262_144));
        if (limits.Pids is { } pids && controllers.HasFlag(CgroupControllers.Pids))
            CgroupFile.Write(directory, "pids.max", pids);
    }

    /// <summary>The controllers, of those that limit a cgroup, that were taken away from it since.</summary>
    public virtual CgroupControllers FindLost(string directory, CgroupControllers limited) => CgroupControllers.None;

    /// <summary>Adds what a cgroup's counters say.</summary>
    public abstract CgroupUsage Read(string directory, CgroupUsage usage);

    /// <summary>The bytes of memory that a cgroup has now; null when it is not counted.</summary>
    public abstract long? ReadMemory(string directory);

    protected abstract void ApplyMemory(string directory, long bytes);

    protected abstract void ApplyCpu(string directory, long quotaMicroseconds, long shares);
}
