using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Mounts;

/// <summary>The machine's file systems as this spark's mount namespace has them.</summary>
internal static unsafe class HostMounts
{
    /// <summary>Makes all of them read-only, for this namespace and those made of it. Nothing of the machine is written to
    /// in a run. A function whose first process is told to execute <c>/proc/self/exe</c>, as by <c>#!</c>, has this
    /// executable as its own, and could else open it to write where its file is the caller's.</summary>
    /// <param name="outerProc">Whether the machine's /proc is to serve, which is written to.</param>
    public static void MakeReadOnly(bool outerProc)
    {
        var attributes = new Libc.MountAttributes { Set = (ulong)Libc.MOUNT_ATTR_RDONLY };

        // Before Linux 5.12 there is no such call; there the kernel lets nobody write to what is being executed, as it
        // does again since 6.13.
        if (Change("/", recursive: true, &attributes) != 0 && Libc.Errno != Libc.ENOSYS)
            throw SparkException.FromErrno("cannot make the machine's file systems read-only for the function");
        if (!outerProc)
            return;
        attributes = new Libc.MountAttributes { Clear = (ulong)Libc.MOUNT_ATTR_RDONLY };

        // One that was read-only before stays so.
        _ = Change("/proc", recursive: false, &attributes);
    }

    /// <summary>Mounts a fresh /proc. The machine's names processes by ids of another PID namespace, and shows them all.</summary>
    /// <param name="outerProc">Whether the machine's /proc will do where the kernel refuses a fresh one.</param>
    public static void MountProc(bool outerProc)
    {
        if (Libc.mount("proc", "/proc", "proc", Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC, null) != 0 && !outerProc)
            throw SparkException.FromErrno("cannot mount a fresh /proc", Libc.Errno, SparkFailureKind.Proc);
    }

    /// <summary>Binds cgroup version 2 over /sys/fs/cgroup where versions 1 and 2 are mixed, and the second is below the
    /// first: crun runs on a pure hierarchy only.</summary>
    public static void ShowPureCgroups()
    {
        const string Cgroups = "/sys/fs/cgroup", Unified = "/sys/fs/cgroup/unified";
        if (Libc.FileSystemType(Cgroups) != Libc.CGROUP2_SUPER_MAGIC && Libc.FileSystemType(Unified) == Libc.CGROUP2_SUPER_MAGIC
            && Libc.mount(Unified, Cgroups, null, Libc.MS_BIND, null) != 0)
        {
            throw SparkException.FromErrno($"cannot bind {Unified} over {Cgroups}");
        }
    }

    private static nint Change(string path, bool recursive, Libc.MountAttributes* attributes)
    {
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
            return Libc.syscall(Libc.SYS_mount_setattr, Libc.AT_FDCWD, (nint)name, recursive ? Libc.AT_RECURSIVE : 0, (nint)attributes, sizeof(Libc.MountAttributes));
    }
}
