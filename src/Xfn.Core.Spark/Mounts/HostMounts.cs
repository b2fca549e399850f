using Xfn.Core.Interop;
using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Mounts;

/// <summary>The machine's file systems as this spark's mount namespace has them.</summary>
internal static unsafe class HostMounts
{
    /// <summary>Makes all of them read-only, for this namespace and those made of it. A function whose first process is told to execute <c>/proc/self/exe</c>, as by <c>#!</c>, has this executable as its own,
    /// and may open it to write where its file is the caller's. Nothing of the machine is written to in a run.</summary>
    /// <param name="outerProc">Whether the machine's /proc is to serve, which is written to.</param>
    public static void MakeReadOnly(bool outerProc)
    {
        var attributes = new Libc.MountAttributes { Set = (ulong)Libc.MOUNT_ATTR_RDONLY };

        // Before Linux 5.12 there is no such call; there the kernel lets nobody write to what is being executed, as it does again since 6.13.
        if (Change("/", recursive: true, &attributes) != 0 && Libc.Errno != Libc.ENOSYS)
            throw SparkException.FromErrno("cannot make the machine's file systems read-only for the function");
        if (!outerProc)
            return;
        attributes = new Libc.MountAttributes { Clear = (ulong)Libc.MOUNT_ATTR_RDONLY };

        // One that was read-only before stays so.
        _ = Change("/proc", recursive: false, &attributes);
    }

    private static nint Change(string path, bool recursive, Libc.MountAttributes* attributes)
    {
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
            return Libc.syscall(Libc.SYS_mount_setattr, Libc.AT_FDCWD, (nint)name, recursive ? Libc.AT_RECURSIVE : 0, (nint)attributes, sizeof(Libc.MountAttributes));
    }
}
