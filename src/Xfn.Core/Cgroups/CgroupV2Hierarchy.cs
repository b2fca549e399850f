using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <remarks>https://docs.kernel.org/admin-guide/cgroup-v2.html</remarks>
internal sealed class CgroupV2Hierarchy(string baseDirectory, CgroupControllers controllers) : CgroupHierarchy(baseDirectory, controllers)
{
    /// <summary>This process and its siblings move there: a cgroup with processes has no controlled children.</summary>
    public const string HostCgroup = "xfn-host";

    private const int MoveRounds = 20;

    private readonly Lock _enabling = new();

    /// <summary>The controllers in a file: <c>cgroup.controllers</c> or <c>cgroup.subtree_control</c>.</summary>
    public static CgroupControllers ReadControllers(string directory, string file)
    {
        string[] names = File.ReadAllText($"{directory}/{file}").Split((char[])[' ', '\n']);
        return CgroupSupport.All.Where(c => names.Contains(CgroupSupport.NameOf(c))).Aggregate(CgroupControllers.None, (all, c) => all | c);
    }

    public override void Enable(CgroupControllers wanted)
    {
        lock (_enabling)
        {
            // Asked every time: whoever manages the cgroups of this machine may have changed it.
            CgroupControllers missing = wanted & ~ReadControllers(BaseDirectory, "cgroup.subtree_control");
            if (missing != 0)
                EnableMissing(missing);
        }
    }

    public override CgroupControllers FindLost(string directory, CgroupControllers limited) =>
        (File.Exists($"{directory}/memory.max") ? 0 : limited & CgroupControllers.Memory)
        | (File.Exists($"{directory}/cpu.max") ? 0 : limited & CgroupControllers.Cpu)
        | (File.Exists($"{directory}/pids.max") ? 0 : limited & CgroupControllers.Pids);

    public override CgroupUsage Read(string directory, CgroupUsage usage)
    {
        long kills = CgroupFile.ReadNumber(directory, "memory.events", "oom_kill"u8) ?? 0;

        // Linux keeps the peak since 5.19. Before, it is known only of runs out of memory: they had their limit.
        long? peak = CgroupFile.ReadNumber(directory, "memory.peak") ?? (kills > 0 ? CgroupFile.ReadNumber(directory, "memory.max") : null);
        return usage with
        {
            // There with or without the controller cpu.
            CpuTime = CgroupFile.ReadNumber(directory, "cpu.stat", "usage_usec"u8) is { } microseconds ? TimeSpan.FromMicroseconds(microseconds) : usage.CpuTime,
            PeakMemoryBytes = peak ?? usage.PeakMemoryBytes,
            OutOfMemoryKills = kills,
        };
    }

    public override long? ReadMemory(string directory) => CgroupFile.ReadNumber(directory, "memory.current");

    protected override void ApplyMemory(string directory, long bytes)
    {
        CgroupFile.Write(directory, "memory.max", bytes);
        CgroupFile.Write(directory, "memory.oom.group", 1);
        if (File.Exists($"{directory}/memory.swap.max"))
            CgroupFile.Write(directory, "memory.swap.max", 0);
    }

    protected override void ApplyCpu(string directory, long quotaMicroseconds, long shares)
    {
        CgroupFile.Write(directory, "cpu.max", $"{quotaMicroseconds} {CpuPeriodMicroseconds}");
        CgroupFile.Write(directory, "cpu.weight", Weight(shares));
    }

    /// <summary>Version 1's shares as weight: 2 is 1, 1024 (default, a processor) is 100, 262144 is 10000.</summary>
    private static long Weight(long shares)
    {
        double log = Math.Log2(shares);
        return (long)Math.Clamp(Math.Round(Math.Pow(10, (log * log + 125 * log) / 612 - 7.0 / 34)), 1, 10_000);
    }

    private void EnableMissing(CgroupControllers missing)
    {
        string change = string.Join(' ', CgroupSupport.Names(missing).Select(name => "+" + name));
        for (int round = 0; ; round++)
        {
            // No processes may be beside children. Otherwise the kernel refuses memory; cpu and pids alone it allows,
            // but makes the children threaded, and those take no processes.
            bool moved = MoveProcessesToLeaf();
            try
            {
                CgroupFile.Write(BaseDirectory, "cgroup.subtree_control", change);
            }
            catch (IOException e) when (e.HResult == Libc.EBUSY && round < MoveRounds)
            {
                continue;
            }

            // Others may be forked while these are moved, so it takes more than one round on a busy day.
            if (!moved || round == MoveRounds)
                return;
        }
    }

    /// <returns>Whether there were any.</returns>
    private bool MoveProcessesToLeaf()
    {
        // 0, of another PID namespace, would be this process if written. The root (no type) may have processes too.
        int[] processes = File.Exists($"{BaseDirectory}/cgroup.type") ? [.. CgroupFile.ReadProcesses(BaseDirectory).Where(process => process > 0)] : [];
        if (processes.Length == 0)
            return false;
        string leaf = $"{BaseDirectory}/{HostCgroup}";
        Directory.CreateDirectory(leaf);
        foreach (int process in processes)
        {
            try
            {
                CgroupFile.Write(leaf, "cgroup.procs", process);
            }
            catch (IOException e) when (e.HResult == Libc.ESRCH)
            {
                // It has ended.
            }
        }

        return true;
    }
}
