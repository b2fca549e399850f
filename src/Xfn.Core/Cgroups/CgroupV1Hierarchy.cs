using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>A hierarchy of version 1 below this process's own cgroup, whose limits hold for runs as well.</summary>
/// <remarks>https://docs.kernel.org/admin-guide/cgroup-v1/</remarks>
internal sealed class CgroupV1Hierarchy(string baseDirectory, CgroupControllers controllers) : CgroupHierarchy(baseDirectory, controllers)
{
    public override CgroupUsage Read(string directory, CgroupUsage usage)
    {
        // The file is there when cpu and cpuacct are mounted together, as they nearly always are.
        if (Controllers.HasFlag(CgroupControllers.Cpu) && CgroupFile.ReadNumber(directory, "cpuacct.usage") is { } nanoseconds)
            usage = usage with { CpuTime = TimeSpan.FromMicroseconds(nanoseconds / 1000) };
        if (Controllers.HasFlag(CgroupControllers.Memory))
        {
            usage = usage with
            {
                PeakMemoryBytes = CgroupFile.ReadNumber(directory, "memory.max_usage_in_bytes"),
                OutOfMemoryKills = CgroupFile.ReadNumber(directory, "memory.oom_control", "oom_kill"u8) ?? 0,
            };
        }

        return usage;
    }

    public override long? ReadMemory(string directory) => CgroupFile.ReadNumber(directory, "memory.usage_in_bytes");

    protected override void ApplyMemory(string directory, long bytes)
    {
        CgroupFile.Write(directory, "memory.limit_in_bytes", bytes);
        // Memory and swap together, so it comes second. Without swap accounting it is missing: then nothing is swapped.
        if (File.Exists($"{directory}/memory.memsw.limit_in_bytes"))
            CgroupFile.Write(directory, "memory.memsw.limit_in_bytes", bytes);
        else
            CgroupFile.Write(directory, "memory.swappiness", 0);

        // The limit above leaves out what waits in connections. Version 1 may have a limit of its own for that.
        if (File.Exists($"{directory}/memory.kmem.tcp.limit_in_bytes"))
            CgroupFile.Write(directory, "memory.kmem.tcp.limit_in_bytes", bytes);
    }

    protected override void ApplyCpu(string directory, long quotaMicroseconds, long shares)
    {
        CgroupFile.Write(directory, "cpu.shares", shares);
        try
        {
            CgroupFile.Write(directory, "cpu.cfs_quota_us", quotaMicroseconds);
        }
        catch (IOException e) when (e.HResult == Libc.EINVAL)
        {
            // A child may not be promised more than its parent has: this process is held to less, and so is the run.
        }
    }
}
