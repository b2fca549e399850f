using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>Makes pseudo-terminals of a container's own /dev/pts.</summary>
/// <remarks>No path is trusted that the container could have changed: the master is opened in the directory that was
/// found to be a devpts, in which only the kernel makes names; the other end comes from the master, and by no path.
/// Nothing is mounted. See <see href="https://man7.org/linux/man-pages/man7/pty.7.html">pty(7)</see>.</remarks>
internal static unsafe class ContainerTerminal
{
    private const uint MasterMajor = 5, MasterMinor = 2;

    /// <summary>Makes a terminal.</summary>
    public static ExecStreams Open(SparkExec request, LivingContainer living)
    {
        var plan = new TerminalPlan { Container = living.Process.Descriptor, Descriptor = -1 };
        if (!VforkChild.Run(&Begin, Libc.CLONE_FILES, &plan))
            throw SparkException.FromErrno("cannot make a process");
        int master = plan.Descriptor;
        if (master < 0)
            throw SparkException.FromErrno("cannot open a terminal in the container: it needs a devpts at /dev/pts", plan.Error);
        if (Libc.Status(master, out Libc.FileStatus status) != 0 || (status.Type, status.RawDeviceMajor, status.RawDeviceMinor) != (Libc.S_IFCHR, MasterMajor, MasterMinor))
        {
            _ = Libc.close(master);
            throw new SparkException(SparkFailureKind.Environment, "cannot open a terminal in the container: /dev/pts/ptmx is none");
        }

        int slave = OpenPeer(master, request.Rows, request.Columns);

        // The group stays that of /dev/pts, which the terminal's own programs expect.
        if (slave >= 0 && VforkLibc.fchown(slave, request.Uid, uint.MaxValue) == 0)
            return new ExecStreams(slave, slave, slave, [master]);
        int errno = VforkLibc.Error;
        _ = Libc.close(master);
        if (slave >= 0)
            _ = Libc.close(slave);
        throw SparkException.FromErrno("cannot make a terminal in the container", errno);
    }

    /// <summary>Makes the terminal of a container's first process, as that process. It shares spark's table of descriptors
    /// until here, where the master is left, and has one of its own from here on.</summary>
    public static bool OpenFirst(ContainerPlan* plan)
    {
        if (!plan->HasTerminal)
            return true;
        plan->Terminal = OpenMaster();
        bool made = ContainerInit.Check(plan, ContainerStage.Terminal, null, plan->Terminal) && ContainerInit.Check(plan, ContainerStage.Terminal, null, VforkLibc.unshare(Libc.CLONE_FILES));
        plan->Stdin = plan->Stdout = plan->Stderr = made ? OpenPeer(plan->Terminal, plan->Rows, plan->Columns) : -1;
        return made && ContainerInit.Check(plan, ContainerStage.Terminal, null, plan->Stdin);
    }

    /// <summary>Makes stdin the controlling terminal of a process that has begun a session.</summary>
    public static bool Control(ContainerPlan* plan)
    {
        const nuint setControllingTerminal = 0x540E;
        return !plan->HasTerminal || ContainerInit.Check(plan, ContainerStage.Terminal, null, VforkLibc.ioctl(0, setControllingTerminal, null));
    }

    /// <summary>Opens a master. A child does so, which leaves the descriptor in this process's table.</summary>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Begin(void* argument)
    {
        var plan = (TerminalPlan*)argument;
        if (VforkLibc.setns(plan->Container, Libc.CLONE_NEWNS) == 0)
            plan->Descriptor = OpenMaster();
        plan->Error = plan->Descriptor < 0 ? VforkLibc.Error : 0;
        return (int)VforkLibc.syscall(Processor.SYS_exit_group, 0);
    }

    /// <summary>Opens the other end of a new terminal, and sets its size.</summary>
    /// <returns>-1 where that cannot be done.</returns>
    private static int OpenPeer(int master, int rows, int columns)
    {
        const nuint setLock = 0x40045431, getPeer = 0x5441, setWindowSize = 0x5414;
        int unlocked = 0;
        var size = new WindowSize { Rows = (ushort)rows, Columns = (ushort)columns };
        return VforkLibc.ioctl(master, setLock, &unlocked) == 0 && VforkLibc.ioctl(master, setWindowSize, &size) == 0
            ? VforkLibc.ioctl(master, getPeer, (void*)(nint)(Libc.O_RDWR | Libc.O_NOCTTY | Libc.O_CLOEXEC))
            : -1;
    }

    private static int OpenMaster()
    {
        const long devpts = 0x1cd1;
        var how = new Libc.OpenHow { Flags = (ulong)(Libc.O_PATH | Processor.O_DIRECTORY | Libc.O_CLOEXEC), Resolve = Libc.RESOLVE_NO_SYMLINKS | Libc.RESOLVE_NO_MAGICLINKS };
        fixed (byte* path = "/dev/pts"u8, name = "ptmx"u8)
        {
            int directory = (int)VforkLibc.openat2(Libc.AT_FDCWD, path, &how);
            if (directory < 0)
                return -1;
            Libc.FileSystemStatus status;
            int master = -1;
            if (VforkLibc.fstatfs(directory, &status) == 0 && status.Type == devpts)
                master = VforkLibc.openat(directory, name, Libc.O_RDWR | Libc.O_NOCTTY | Libc.O_NONBLOCK | Libc.O_CLOEXEC | Processor.O_NOFOLLOW, 0);
            else
                VforkLibc.Error = Libc.ENODEV;
            int error = VforkLibc.Error;
            _ = VforkLibc.close(directory);
            VforkLibc.Error = error;
            return master;
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TerminalPlan
    {
        public int Container;
        public int Descriptor;
        public int Error;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct WindowSize
    {
        public ushort Rows;
        public ushort Columns;
        public ushort XPixels;
        public ushort YPixels;
    }
}
