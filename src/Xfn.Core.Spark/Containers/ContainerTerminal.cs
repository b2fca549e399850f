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
        const nuint setLock = 0x40045431, getPeer = 0x5441, setWindowSize = 0x5414;
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

        int unlocked = 0;
        var size = new WindowSize { Rows = (ushort)request.Rows, Columns = (ushort)request.Columns };
        int slave = Libc.ioctl(master, setLock, &unlocked) != 0 ? -1 : Libc.ioctl(master, getPeer, (void*)(nint)(Libc.O_RDWR | Libc.O_NOCTTY | Libc.O_CLOEXEC));

        // The group stays that of /dev/pts, which the terminal's own programs expect.
        if (slave >= 0 && Libc.ioctl(master, setWindowSize, &size) == 0 && Libc.fchown(slave, request.Uid, uint.MaxValue) == 0)
            return new ExecStreams(slave, slave, slave, [master]);
        int errno = Libc.Errno;
        _ = Libc.close(master);
        if (slave >= 0)
            _ = Libc.close(slave);
        throw SparkException.FromErrno("cannot make a terminal in the container", errno);
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
