using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>Makes a container with no other program: clone(2) with all namespaces; the child does the rest.</summary>
internal sealed unsafe class CloneRuntime(SparkContainer container)
{
    private const nuint StackBytes = 256 << 10;

    // The runtime specification asks for these besides a bundle's mounts: config-linux.md, Default Devices and
    // Default Filesystems; runtime-linux.md, Dev symbolic links.
    private static readonly string[] Devices = ["null", "zero", "full", "tty", "random", "urandom"];

    private static readonly string[] Links =
        ["fd", "/proc/self/fd", "stdin", "/proc/self/fd/0", "stdout", "/proc/self/fd/1", "stderr", "/proc/self/fd/2", "core", "/proc/kcore", "ptmx", "pts/ptmx"];

    /// <summary>Starts the container's first process.</summary>
    /// <param name="root">The root's path. It is a mount.</param>
    /// <param name="pipes">The function's pipes.</param>
    /// <param name="gate">Where the process waits before it is the function; null for no wait.</param>
    /// <exception cref="SparkException">The container cannot be made, or its program cannot be executed.</exception>
    public StartedContainer Start(string root, FunctionPipes pipes, StartGate? gate)
    {
        ContainerPlan* plan = Plan(root, pipes, gate);
        int pid = Clone(plan);
        var process = new ChildProcess(pid);
        if (plan->Error == 0)
        {
            // One that was killed on its way is told as a function that was: who kills means that.
            return new StartedContainer(process, IsExecuted: true, plan->SetupMicroseconds);
        }

        process.Wait();
        throw Obstructed(plan, root) ?? Failure(plan);
    }

    private static int Clone(ContainerPlan* plan)
    {
        const int sharedMemory = 0x100, parentWaits = 0x4000, mountNamespace = 0x20000, cgroupNamespace = 0x0200_0000, utsNamespace = 0x0400_0000, ipcNamespace = 0x0800_0000,
            pidNamespace = 0x2000_0000, networkNamespace = 0x4000_0000, setMask = 2;
        int flags = sharedMemory | parentWaits | mountNamespace | cgroupNamespace | utsNamespace | ipcNamespace | pidNamespace | (plan->OwnNetwork ? networkNamespace : 0) | Libc.SIGCHLD;
        var stack = (byte*)NativeMemory.AlignedAlloc(StackBytes, 64);

        // A handler must not run in the child, on memory that is not its own.
        ulong all = ulong.MaxValue, before;
        _ = VforkLibc.syscall(Processor.SYS_rt_sigprocmask, setMask, (nint)(&all), (nint)(&before), sizeof(ulong));
        int pid = Libc.clone(&ContainerInit.Begin, stack + StackBytes, flags, plan);
        int error = Libc.Errno;
        _ = VforkLibc.syscall(Processor.SYS_rt_sigprocmask, setMask, (nint)(&before), 0, sizeof(ulong));
        return pid > 0 ? pid : throw SparkException.FromErrno("cannot make the container's namespaces", error);
    }

    private ContainerPlan* Plan(string root, FunctionPipes pipes, StartGate? gate)
    {
        var plan = (ContainerPlan*)NativeMemory.AllocZeroed((nuint)sizeof(ContainerPlan));
        byte[] hostname = Encoding.UTF8.GetBytes(container.Hostname);
        (int stdin, int stdout, int stderr) = pipes.Function;
        MountStep[] mounts = [.. CgroupMounts.Adapt(container.Mounts).Select(mount => Step(mount, Path.GetDirectoryName(root)!))];
        *plan = new ContainerPlan
        {
            Root = NativeText.Of(root),
            OwnNetwork = container.OwnNetwork,
            OomScoreAdjustment = container.OomScoreAdjustment is { } score ? NativeText.Of(score.ToString(CultureInfo.InvariantCulture)) : null,
            Mounts = NativeText.ArrayOf<MountStep>(mounts),
            MountCount = mounts.Length,
            Devices = NativeText.ListOf(Devices),
            Links = NativeText.ListOf(Links),
            Masked = NativeText.ListOf(container.MaskedPaths),
            ReadOnly = NativeText.ListOf(container.ReadOnlyPaths),
            Hostname = NativeText.Of(container.Hostname),
            HostnameLength = hostname.Length,
            Stdin = stdin,
            Stdout = stdout,
            Stderr = stderr,
            Stub = gate?.Stub ?? -1,
            Release = gate?.Release ?? -1,
            Status = gate?.Status ?? -1,
            Limits = NativeText.ArrayOf<LimitStep>(container.Limits.Select(l => new LimitStep { Resource = l.Resource, Soft = l.Soft, Hard = l.Hard }).ToArray()),
            LimitCount = container.Limits.Count,
            Umask = container.Umask,
            Uid = container.Uid,
            Gid = container.Gid,
            Groups = NativeText.ArrayOf<uint>(container.Groups.ToArray()),
            GroupCount = container.Groups.Count,
            Capabilities = container.Capabilities,
            NewPrivileges = container.NewPrivileges,
            WorkingDirectory = NativeText.Of(container.WorkingDirectory),
            Filter = container.Filter.IsEmpty ? null : NativeText.ArrayOf(container.Filter.Span),
            FilterLength = (ushort)(container.Filter.Length / SparkContainer.InstructionBytes),
            Programs = NativeText.ListOf(Programs(container.Arguments[0], container.Environment)),
            Arguments = NativeText.ListOf(container.Arguments, before: 2),
            Environment = NativeText.ListOf(container.Environment),
        };
        return plan;
    }

    /// <param name="mount">The mount.</param>
    /// <param name="bundle">Where relative sources of bind mounts start from.</param>
    private static MountStep Step(SparkMount mount, string bundle)
    {
        string source = mount.Type.Length == 0 ? Path.Combine(bundle, mount.Source) : mount.Source;
        bool deferred = mount.Type == "tmpfs" && ((nuint)mount.Flags & Libc.MS_RDONLY) != 0;
        return new MountStep
        {
            Destination = NativeText.Of(mount.Destination),
            Type = mount.Type.Length > 0 ? NativeText.Of(mount.Type) : null,
            Source = NativeText.Of(source),
            Data = mount.Data.Length > 0 ? NativeText.Of(mount.Data) : null,
            Flags = (nuint)mount.Flags & ~(deferred ? Libc.MS_RDONLY : 0),
            IsFile = mount.Type.Length == 0 && !Directory.Exists(source),
            IsReadOnlyInTheEnd = deferred,
        };
    }

    /// <summary>Where a program may be: itself when its name has a slash, else in every directory of PATH.</summary>
    private static string[] Programs(string name, IReadOnlyList<string> environment)
    {
        const string path = "PATH=";
        if (name.Contains('/'))
            return [name];
        string directories = environment.FirstOrDefault(v => v.StartsWith(path, StringComparison.Ordinal))?[path.Length..] ?? "";
        return [.. directories.Split(':', StringSplitOptions.RemoveEmptyEntries).Select(directory => $"{directory}/{name}")];
    }

    /// <summary>A failure for want of rights, told by the directory or file that the container's user may not pass;
    /// null for any other, or where none is found.</summary>
    private SparkException? Obstructed(ContainerPlan* plan, string root)
    {
        if (plan->Error != Libc.EACCES || plan->Stage is not (ContainerStage.Find or ContainerStage.Execute))
            return null;
        var obstacle = new Obstacle(root, container);
        return Programs(container.Arguments[0], container.Environment)
            .Select(program => obstacle.OnTheWayTo(program.StartsWith('/') ? program : $"{container.WorkingDirectory}/{program}"))
            .FirstOrDefault(found => found is not null) is { } found
                ? new SparkException(SparkFailureKind.Unreachable, $"cannot execute '{container.Arguments[0]}': {found}", plan->Error)
                : null;
    }

    private SparkException Failure(ContainerPlan* plan)
    {
        string subject = Marshal.PtrToStringUTF8((nint)plan->Subject) ?? "";
        return plan->Stage switch
        {
            ContainerStage.Find => Refused(SparkFailureKind.Entrypoint, container.Arguments[0].Contains('/')
                ? $"'{container.Arguments[0]}' cannot be executed" : $"there is no executable file '{container.Arguments[0]}' in its PATH"),

            // The file itself was found to be there.
            ContainerStage.Execute when plan->Error == Libc.ENOENT => Refused(SparkFailureKind.Entrypoint, $"'{subject}' cannot be executed, its interpreter or dynamic linker is missing"),
            ContainerStage.Execute => Refused(SparkFailureKind.Entrypoint, $"'{subject}' cannot be executed"),
            ContainerStage.WorkingDirectory => Refused(SparkFailureKind.Image, $"cannot enter its working directory '{subject}'"),
            ContainerStage.User => Refused(SparkFailureKind.Image, $"cannot become its user {container.Uid}:{container.Gid}"),
            ContainerStage.Groups => Refused(SparkFailureKind.Image, "cannot set its supplementary groups"),
            ContainerStage.Keyring => Refused(SparkFailureKind.Keyring, "cannot make a session keyring"),
            ContainerStage.MountPoint => Refused(SparkFailureKind.Runtime, $"cannot make the mount point '{subject}'"),

            // What is mounted over in a namespace that has more rights stays covered in this one.
            ContainerStage.Mount when plan->Error == Libc.EINVAL && container.Mounts.Any(m => m.Destination == subject && m.Type.Length == 0 && ((nuint)m.Flags & Libc.MS_REC) == 0 && Directory.Exists(m.Source)) =>
                Refused(SparkFailureKind.CoveredMount, $"cannot mount '{subject}' without what is mounted below its source"),
            ContainerStage.Mount or ContainerStage.Device or ContainerStage.Mask or ContainerStage.ReadOnly => Refused(SparkFailureKind.Runtime, $"cannot mount '{subject}' ({plan->Stage})"),
            var stage => Refused(SparkFailureKind.Runtime, $"cannot set up the container ({stage})"),
        };

        SparkException Refused(SparkFailureKind kind, string tried) => SparkException.FromErrno(tried, plan->Error, kind);
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

    /// <summary>Puts version 1's mounts in the place of version 2's, where they say more.</summary>
    public static IEnumerable<SparkMount> Adapt(IReadOnlyList<SparkMount> mounts) =>
        mounts.Any(mount => mount.Type == Version2) && Hierarchies(File.ReadLines("/proc/self/cgroup")) is { Count: > 0 } hierarchies
            ? mounts.SelectMany(mount => mount.Type == Version2 ? InPlaceOf(mount, hierarchies) : [mount])
            : mounts;

    /// <summary>The version 1 hierarchies to show, by their controllers; none where version 2 has the limits.</summary>
    /// <param name="lines">Of /proc/PID/cgroup: <c>NUMBER:CONTROLLER[,CONTROLLER…]:PATH</c>.</param>
    private static List<string> Hierarchies(IEnumerable<string> lines)
    {
        List<string> hierarchies = [.. lines.Select(line => line.Split(':', 3)).Where(fields => fields.Length == 3)
            .Select(fields => fields[1]).Where(controllers => controllers.Split(',').Intersect(Shown).Any())];
        return hierarchies.Exists(controllers => controllers.Split(',').Any(name => name is "memory" or "cpu")) ? hierarchies : [];
    }

    private static IEnumerable<SparkMount> InPlaceOf(SparkMount mount, List<string> hierarchies)
    {
        yield return mount with { Type = "tmpfs", Source = "tmpfs", Data = "mode=755,size=64k,nr_inodes=64" };
        foreach (string controllers in hierarchies)
            yield return mount with { Destination = $"{mount.Destination}/{controllers}", Type = Version1, Source = Version1, Data = controllers };
    }
}
