using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>A container's first process, from clone(2) on until it is the function.</summary>
/// <remarks>The child shares this process's memory, on a stack of its own, while the thread that made it stands still
/// (as with vfork(2)): so it starts in no time, and can be C#. But the .NET runtime did not make it. Nothing here may
/// allocate, throw, or call what does, and no other thread may need the collector; spark has none that does. The steps
/// have crun's order. The first that fails ends it; <see cref="ContainerPlan.Stage"/> and others tell why.</remarks>
internal static unsafe class ContainerInit
{
    private const int FirstCapability = 0, LastCapability = 63;

    /// <param name="argument">A <see cref="ContainerPlan"/>.</param>
    /// <returns>Only when it could not become the function.</returns>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Begin(void* argument)
    {
        var plan = (ContainerPlan*)argument;
        _ = SetUpNamespaces(plan) && ContainerMounts.Make(plan) && SetUpProcess(plan) && DropPrivileges(plan) && Execute(plan);
        return (int)VforkLibc.syscall(Processor.SYS_exit_group, 127);
    }

    /// <summary>Takes a failure down.</summary>
    /// <returns>Whether there was none.</returns>
    public static bool Check(ContainerPlan* plan, ContainerStage stage, byte* subject, nint result)
    {
        if (result >= 0)
            return true;
        plan->Error = VforkLibc.Error;
        plan->Stage = stage;
        plan->Subject = subject;
        return false;
    }

    /// <summary>What the new namespaces need, while the machine's files are still to be seen.</summary>
    private static bool SetUpNamespaces(ContainerPlan* plan)
    {
        fixed (byte* root = "/"u8)
        {
            _ = VforkLibc.umask(0);
            return Check(plan, ContainerStage.Session, null, VforkLibc.setsid())
                && Check(plan, ContainerStage.Propagation, null, VforkLibc.mount(null, root, null, Libc.MS_REC | Libc.MS_PRIVATE, null))
                && (!plan->OwnNetwork || RaiseLoopback(plan) && (!plan->OpensLowPorts || OpenLowPorts()))
                && LeaveCaller(plan);
        }
    }

    /// <summary>Takes a session keyring of its own, where it could ask for the runner's, and the container's out-of-memory score.</summary>
    public static bool LeaveCaller(ContainerPlan* plan)
    {
        const nint joinSessionKeyring = 1;
        fixed (byte* score = "/proc/self/oom_score_adj"u8)
        {
            // Without a name, so that it is nobody else's. A kernel without keys has none to protect.
            if (plan->OwnKeyring && VforkLibc.syscall(Processor.SYS_keyctl, joinSessionKeyring) < 0 && VforkLibc.Error != Libc.ENOSYS && !Check(plan, ContainerStage.Keyring, null, -1))
                return false;
            if (plan->OomScoreAdjustment is null)
                return true;
            int file = VforkLibc.openat(Libc.AT_FDCWD, score, Libc.O_WRONLY | Libc.O_CLOEXEC, 0);
            bool done = Check(plan, ContainerStage.OomScore, plan->OomScoreAdjustment, file)
                && Check(plan, ContainerStage.OomScore, plan->OomScoreAdjustment, VforkLibc.write(file, plan->OomScoreAdjustment, (nuint)Length(plan->OomScoreAdjustment)));
            _ = VforkLibc.close(file);
            return done;
        }
    }

    /// <summary>Programs expect to reach themselves.</summary>
    private static bool RaiseLoopback(ContainerPlan* plan)
    {
        const int internet = 2, datagram = 2;
        const nuint setFlags = 0x8914;
        const short up = 1, running = 0x40;

        // struct ifreq: a name of 16 bytes, then flags.
        byte* request = stackalloc byte[40];
        new Span<byte>(request, 40).Clear();
        (request[0], request[1]) = ((byte)'l', (byte)'o');
        *(short*)(request + 16) = up | running;
        int socket = VforkLibc.socket(internet, datagram | Libc.O_CLOEXEC, 0);
        if (socket < 0 && VforkLibc.Error == Libc.EAFNOSUPPORT)
            return true;
        bool done = Check(plan, ContainerStage.Network, null, socket) && Check(plan, ContainerStage.Network, null, VforkLibc.ioctl(socket, setFlags, request));
        _ = VforkLibc.close(socket);
        return done;
    }

    /// <summary>Lets everybody in the container listen on the ports below 1024, which no other machine reaches.</summary>
    /// <returns>True: an engine around may have made /proc/sys read-only, and a function that needs such a port
    /// says so.</returns>
    private static bool OpenLowPorts()
    {
        fixed (byte* path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"u8, first = "0"u8)
        {
            int file = VforkLibc.openat(Libc.AT_FDCWD, path, Libc.O_WRONLY | Libc.O_CLOEXEC, 0);
            _ = VforkLibc.write(file, first, 1);
            _ = VforkLibc.close(file);
            return true;
        }
    }

    /// <summary>What is to be done in the new root as its root: the name, the descriptors, where it stands.</summary>
    private static bool SetUpProcess(ContainerPlan* plan)
    {
        if (!Check(plan, ContainerStage.Hostname, plan->Hostname, VforkLibc.sethostname(plan->Hostname, (nuint)plan->HostnameLength)))
            return false;

        // Before it goes to the working directory, which is no way to what a descriptor holds open.
        if (!ContainerTerminal.OpenFirst(plan) || !HandStreams(plan) || !ContainerTerminal.Control(plan))
            return false;
        if (plan->Stub < 0)
        {
            if (!Check(plan, ContainerStage.Descriptors, null, VforkLibc.close_range(3, uint.MaxValue)))
                return false;
        }
        else if (!Hand(plan, plan->Stub, 3, Libc.O_CLOEXEC) || !Hand(plan, plan->Release, StartGate.ReleaseFd) || !Hand(plan, plan->Status, StartGate.StatusFd)
            || !Check(plan, ContainerStage.Descriptors, null, VforkLibc.close_range(5, 5)) || !Check(plan, ContainerStage.Descriptors, null, VforkLibc.close_range(7, uint.MaxValue)))
        {
            return false;
        }

        return SetLimits(plan);
    }

    public static bool HandStreams(ContainerPlan* plan)
    {
        if (!Hand(plan, plan->Stdin, 0) || !Hand(plan, plan->Stdout, 1) || !Hand(plan, plan->Stderr, 2))
            return false;

        // Where it may not, the mode of a pipe lets everybody open it anew.
        for (int descriptor = 0; descriptor <= 2 && (plan->Uid | plan->Gid) != 0; descriptor++)
            _ = VforkLibc.fchown(descriptor, plan->Uid, plan->Gid);
        return true;
    }

    public static bool SetLimits(ContainerPlan* plan)
    {
        _ = VforkLibc.umask(plan->Umask);
        for (int i = 0; i < plan->LimitCount; i++)
        {
            if (!Check(plan, ContainerStage.Limit, null, VforkLibc.setrlimit(plan->Limits[i].Resource, &plan->Limits[i].Soft)))
                return false;
        }

        return true;
    }

    public static bool Hand(ContainerPlan* plan, int from, int to, int flags = 0) => Check(plan, ContainerStage.Descriptors, null, VforkLibc.dup3(from, to, flags));

    /// <summary>Gives up what the function is not to have.</summary>
    public static bool DropPrivileges(ContainerPlan* plan)
    {
        const int boundingDrop = 24, keepCapabilities = 8, ambient = 47, noNewPrivileges = 38;
        const nuint ambientRaise = 2, ambientClear = 4;

        // Root may enter where the user may not, and the other way round where no capability counts.
        bool entered = Enter(plan->WorkingDirectory);

        // Where one id is mapped the kernel denies it.
        if (VforkLibc.syscall(Processor.SYS_setgroups, plan->GroupCount, (nint)plan->Groups) < 0 && !(VforkLibc.Error == Libc.EPERM && plan->GroupCount == 0) && !Check(plan, ContainerStage.Groups, null, -1))
            return false;
        for (int capability = FirstCapability; capability <= LastCapability; capability++)
        {
            if ((plan->Capabilities >> capability & 1) == 0 && VforkLibc.prctl(boundingDrop, (nuint)capability) < 0 && VforkLibc.Error != Libc.EINVAL && !Check(plan, ContainerStage.Capabilities, null, -1))
                return false;
        }

        if (!Check(plan, ContainerStage.Capabilities, null, VforkLibc.prctl(keepCapabilities, 1))
            || !Check(plan, ContainerStage.User, null, VforkLibc.syscall(Processor.SYS_setresgid, (nint)plan->Gid, (nint)plan->Gid, (nint)plan->Gid))
            || !Check(plan, ContainerStage.User, null, VforkLibc.syscall(Processor.SYS_setresuid, (nint)plan->Uid, (nint)plan->Uid, (nint)plan->Uid))

            // A change of ids makes the memory, which is spark's too, as open as fs.suid_dumpable says.
            || !Check(plan, ContainerStage.User, null, VforkLibc.prctl(Libc.PR_SET_DUMPABLE, 0))
            || !Check(plan, ContainerStage.Capabilities, null, SetCapabilities(plan))
            || !Check(plan, ContainerStage.Capabilities, null, VforkLibc.prctl(ambient, ambientClear)))
            return false;
        for (int capability = FirstCapability; capability <= LastCapability; capability++)
        {
            if ((plan->Capabilities >> capability & 1) != 0 && !Check(plan, ContainerStage.Capabilities, null, VforkLibc.prctl(ambient, ambientRaise, (nuint)capability)))
                return false;
        }

        if (!plan->NewPrivileges && !Check(plan, ContainerStage.Privileges, null, VforkLibc.prctl(noNewPrivileges, 1)))
            return false;
        return entered || Enter(plan->WorkingDirectory) || Check(plan, ContainerStage.WorkingDirectory, plan->WorkingDirectory, -1);
    }

    private static nint SetCapabilities(ContainerPlan* plan)
    {
        const uint version3 = 0x20080522;
        uint* header = stackalloc uint[2];
        uint* sets = stackalloc uint[6];
        (header[0], header[1]) = (version3, 0);

        // The lower halves of the effective, permitted and inheritable set, then the upper ones.
        sets[0] = sets[1] = sets[2] = (uint)plan->Capabilities;
        sets[3] = sets[4] = sets[5] = (uint)(plan->Capabilities >> 32);
        return VforkLibc.syscall(Processor.SYS_capset, (nint)header, (nint)sets);
    }

    private static bool Enter(byte* directory)
    {
        // Where it leads to what is no part of the root the kernel gives no absolute path.
        byte* path = stackalloc byte[4096];
        return VforkLibc.chdir(directory) == 0 && VforkLibc.syscall(Processor.SYS_getcwd, (nint)path, 4096) > 0 && path[0] == (byte)'/';
    }

    /// <summary>Becomes the function, or what waits for its release.</summary>
    public static bool Execute(ContainerPlan* plan)
    {
        const int setFilter = 1, allowSpeculation = 4, setMask = 2, lastSignal = 64;
        byte* program = Find(plan);
        if (program is null)
            return Check(plan, ContainerStage.Find, plan->Programs[0], -1);

        // The .NET runtime ignores SIGPIPE, and what is ignored stays so.
        byte* clean = stackalloc byte[32];
        new Span<byte>(clean, 32).Clear();
        for (int signal = 1; signal <= lastSignal; signal++)
            _ = VforkLibc.syscall(Processor.SYS_rt_sigaction, signal, (nint)clean, 0, 8);
        _ = VforkLibc.syscall(Processor.SYS_rt_sigprocmask, setMask, (nint)clean, 0, 8);

        Libc.RUsage used;
        if (VforkLibc.getrusage(0, &used) == 0)
            plan->SetupMicroseconds = used.CpuMicroseconds;

        if (plan->Filter is not null)
        {
            // struct sock_fprog: a length, and the instructions.
            byte** filter = stackalloc byte*[2];
            *(ushort*)filter = plan->FilterLength;
            filter[1] = plan->Filter;
            if (VforkLibc.syscall(Processor.SYS_seccomp, setFilter, allowSpeculation, (nint)filter) < 0 && !Check(plan, ContainerStage.Filter, null, -1))
                return false;
        }

        // From here on it may be killed as a function is, and is told as one.
        plan->Stage = ContainerStage.Execute;
        if (plan->Stub < 0)
        {
            return Check(plan, ContainerStage.Execute, program, VforkLibc.execve(program, plan->Arguments + 2, plan->Environment));
        }

        ReadOnlySpan<byte> gate = "xfn-gate"u8;
        fixed (byte* name = gate)
        {
            // A literal has a NUL behind it, which is the empty path that stands for the descriptor itself.
            byte* empty = name + gate.Length;
            plan->Arguments[0] = name;
            plan->Arguments[1] = program;
            return Check(plan, ContainerStage.Execute, program, VforkLibc.syscall(Processor.SYS_execveat, 3, (nint)empty, (nint)plan->Arguments, (nint)plan->Environment, Libc.AT_EMPTY_PATH));
        }
    }

    /// <summary>The first path that is an executable file; null when none is.</summary>
    private static byte* Find(ContainerPlan* plan)
    {
        const int executable = 1;
        int error = Libc.ENOENT;
        for (byte** path = plan->Programs; *path is not null; path++)
        {
            // By the effective ids, as the kernel does when it executes. A directory can be executable, but not run.
            if (VforkLibc.faccessat(Libc.AT_FDCWD, *path, executable, Libc.AT_EACCESS) != 0)
            {
                error = VforkLibc.Error == Libc.ENOENT || VforkLibc.Error == Libc.ENOTDIR ? error : VforkLibc.Error;
                continue;
            }

            // What /proc/self/exe leads to is this executable, which is no part of the root.
            var how = new Libc.OpenHow { Flags = Libc.O_PATH | Libc.O_CLOEXEC, Resolve = Libc.RESOLVE_NO_MAGICLINKS };
            int file = (int)VforkLibc.openat2(Libc.AT_FDCWD, *path, &how);
            if (file < 0)
            {
                error = Libc.EACCES;
                continue;
            }

            _ = VforkLibc.close(file);
            int directory = VforkLibc.openat(Libc.AT_FDCWD, *path, Libc.O_PATH | Processor.O_DIRECTORY | Libc.O_CLOEXEC, 0);
            if (directory < 0)
                return *path;
            _ = VforkLibc.close(directory);
            error = Libc.EISDIR;
        }

        VforkLibc.Error = error;
        return null;
    }

    private static int Length(byte* text)
    {
        int length = 0;
        while (text[length] != 0)
            length++;
        return length;
    }
}
