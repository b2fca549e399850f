using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>Makes a container with no other program: clone(2) with all namespaces; the child does the rest.</summary>
/// <param name="container">What it is.</param>
/// <param name="opensLowPorts">Whether all its users may listen on low ports.</param>
internal sealed unsafe class CloneRuntime(SparkContainer container, bool opensLowPorts)
{
    // The runtime specification asks for these besides a bundle's mounts: config-linux.md, Default Devices and
    // Default Filesystems; runtime-linux.md, Dev symbolic links.
    private static readonly string[] Devices = ["null", "zero", "full", "tty", "random", "urandom"];

    private static readonly string[] Links =
        ["fd", "/proc/self/fd", "stdin", "/proc/self/fd/0", "stdout", "/proc/self/fd/1", "stderr", "/proc/self/fd/2", "core", "/proc/kcore", "ptmx", "pts/ptmx"];

    /// <summary>Starts the container's first process.</summary>
    /// <param name="root">The root's path. It is a mount.</param>
    /// <param name="pipes">The function's pipes.</param>
    /// <param name="gate">Where the process waits before it is the function; null for no wait.</param>
    /// <param name="terminal">The size of the terminal that it has in place of the pipes; no rows for none.</param>
    /// <exception cref="SparkException">The container cannot be made, or its program cannot be executed.</exception>
    public StartedContainer Start(string root, FunctionPipes pipes, StartGate? gate, (int Rows, int Columns) terminal)
    {
        const int namespaces = Libc.CLONE_NEWNS | Libc.CLONE_NEWCGROUP | Libc.CLONE_NEWUTS | Libc.CLONE_NEWIPC | Libc.CLONE_NEWPID;

        // It is never freed: a spark makes one container and ends.
        ContainerPlan* plan = Plan(root, pipes.Function, gate, new PlanMemory());
        (plan->HasTerminal, plan->Rows, plan->Columns, plan->Terminal) = (terminal.Rows > 0, terminal.Rows, terminal.Columns, -1);
        int pid = VforkChild.Start(&ContainerInit.Begin, namespaces | (container.OwnNetwork ? Libc.CLONE_NEWNET : 0) | (plan->HasTerminal ? Libc.CLONE_FILES : 0), plan);
        var process = new ChildProcess(pid > 0 ? pid : throw SparkException.FromErrno("cannot make the container's namespaces"));
        if (plan->Error == 0)
        {
            // One that was killed on its way is told as a function that was: who kills means that.
            return new StartedContainer(process, IsExecuted: true, plan->SetupMicroseconds, plan->Terminal);
        }

        process.Wait();
        throw ContainerFailure.Of(plan, container, root);
    }

    /// <summary>Lays a container out, and forgets it.</summary>
    public static void Rehearse(SparkContainer container)
    {
        var memory = new PlanMemory();
        _ = new CloneRuntime(container, opensLowPorts: false).Plan("/run/rootfs", (0, 1, 2), null, memory);
        memory.Free();
    }

    private ContainerPlan* Plan(string root, (int Stdin, int Stdout, int Stderr) stdio, StartGate? gate, PlanMemory memory)
    {
        ContainerPlan* plan = ContainerPlan.Make(container, stdio, memory);
        MountStep[] mounts = [.. CgroupMounts.Adapt(container.Mounts).Select(mount => Step(mount, Path.GetDirectoryName(root)!, memory))];
        plan->Root = memory.Of(root);
        plan->OpensLowPorts = opensLowPorts;
        plan->Mounts = memory.ArrayOf<MountStep>(mounts);
        plan->MountCount = mounts.Length;
        plan->Devices = memory.ListOf(Devices);
        plan->Links = memory.ListOf(Links);
        plan->Masked = memory.ListOf(container.MaskedPaths);
        plan->ReadOnly = memory.ListOf(container.ReadOnlyPaths);
        plan->Hostname = memory.Of(container.Hostname);
        plan->HostnameLength = Encoding.UTF8.GetByteCount(container.Hostname);
        plan->Stub = gate?.Stub ?? -1;
        plan->Release = gate?.Release ?? -1;
        plan->Status = gate?.Status ?? -1;
        return plan;
    }

    /// <param name="mount">The mount.</param>
    /// <param name="bundle">Where relative sources of bind mounts start from.</param>
    /// <param name="memory">Where to lay it out.</param>
    private static MountStep Step(SparkMount mount, string bundle, PlanMemory memory)
    {
        string source = mount.Type.Length == 0 ? Path.Combine(bundle, mount.Source) : mount.Source;
        bool deferred = mount.Type == "tmpfs" && ((nuint)mount.Flags & Libc.MS_RDONLY) != 0;
        return new MountStep
        {
            Destination = memory.Of(mount.Destination),
            Type = mount.Type.Length > 0 ? memory.Of(mount.Type) : null,
            Source = memory.Of(source),
            Data = mount.Data.Length > 0 ? memory.Of(mount.Data) : null,
            Flags = (nuint)mount.Flags & ~(deferred ? Libc.MS_RDONLY : 0),
            IsFile = mount.Type.Length == 0 && !Directory.Exists(source),
            IsReadOnlyInTheEnd = deferred,
        };
    }
}

/// <summary>The cgroups that a container sees at /sys/fs/cgroup. Run-times read there how large they may get.</summary>
/// <remarks>Version 2 shows no limits where version 1, alone or beside it, has the memory or processor controller. The
/// container then gets version 1's hierarchies, each at its usual place. In a cgroup namespace each has the run's own
/// cgroup as root. <see href="https://man7.org/linux/man-pages/man7/cgroups.7.html">cgroups(7)</see>.</remarks>
internal static class CgroupMounts
{
    private const string Version2 = "cgroup2";
    private const string Version1 = "cgroup";

    private static readonly string[] Shown = ["memory", "cpu", "cpuacct", "cpuset", "pids"];

    /// <summary>The machine's, which all its processes have.</summary>
    private static List<string>? _hierarchies;

    /// <summary>Puts version 1's mounts in the place of version 2's, where they say more.</summary>
    public static IEnumerable<SparkMount> Adapt(IReadOnlyList<SparkMount> mounts) =>
        mounts.Any(mount => mount.Type == Version2) && (_hierarchies ??= Hierarchies(File.ReadLines("/proc/self/cgroup"))) is { Count: > 0 } hierarchies
            ? mounts.SelectMany(mount => mount.Type == Version2 ? InPlaceOf(mount, hierarchies) : [mount])
            : mounts;

    /// <summary>The version 1 hierarchies to show, by their controllers; none where version 2 has the limits.</summary>
    /// <param name="lines">Of /proc/PID/cgroup: <c>NUMBER:CONTROLLER[,CONTROLLER…]:PATH</c>.</param>
    private static List<string> Hierarchies(IEnumerable<string> lines)
    {
        List<string> hierarchies = [.. lines.Select(line => line.Split(':', 3)).Where(fields => fields.Length == 3)
            .Select(fields => fields[1]).Where(controllers => controllers.Split(',').Any(Shown.Contains))];
        return hierarchies.Exists(controllers => controllers.Split(',').Any(name => name is "memory" or "cpu")) ? hierarchies : [];
    }

    private static IEnumerable<SparkMount> InPlaceOf(SparkMount mount, List<string> hierarchies)
    {
        yield return mount with { Type = "tmpfs", Source = "tmpfs", Data = "mode=755,size=64k,nr_inodes=64" };
        foreach (string controllers in hierarchies)
            yield return mount with { Destination = $"{mount.Destination}/{controllers}", Type = Version1, Source = Version1, Data = controllers };
    }
}
