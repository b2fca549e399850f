using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <content>Processes, by descriptors: a process id may be another's by the time that it is used.</content>
internal static unsafe partial class Posix
{
    /// <summary>Opens a process; null when there is none of that id any more.</summary>
    /// <exception cref="IOException">No descriptors are left, or the kernel lacks these (before Linux 5.3).</exception>
    public static SafeFileHandle? TryOpenProcess(int processId)
    {
        nint fd = Libc.syscall(Libc.SYS_pidfd_open, processId);
        return fd < 0 && Libc.Errno == Libc.ESRCH ? null : new SafeFileHandle(Check((int)fd, "open process", $"{processId}"), ownsHandle: true);
    }

    /// <summary>Sends a signal; that the process has ended is no error.</summary>
    public static void Signal(SafeFileHandle process, int signal) => _ = syscall(Libc.SYS_pidfd_send_signal, process, signal);

    /// <summary>Whether a process goes on: the descriptor of one that has ended is readable.</summary>
    public static bool IsAlive(SafeFileHandle process)
    {
        var poll = new Libc.PollFd { Fd = (int)process.DangerousGetHandle(), Events = Libc.POLLIN };
        return Libc.poll(&poll, 1, 0) == 0;
    }

    /// <summary>Whether a process is ending: it closes its files, and the kernel kills the other processes of its PID
    /// namespace, before it counts as ended.</summary>
    /// <param name="processId">The process. One that somebody has waited for is not found.</param>
    /// <remarks>https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, "flags"</remarks>
    public static bool IsEnding(int processId)
    {
        const int flagsAfterName = 6;
        const uint exiting = 4;

        // The name before it may hold anything, parentheses and blanks too.
        return new SystemFiles().ReadText($"/proc/{processId}/stat") is { } stat
            && (uint.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[flagsAfterName], CultureInfo.InvariantCulture) & exiting) != 0;
    }

    /// <summary>The user namespace of a process; null when the kernel does not say it so (before Linux 6.11).</summary>
    public static SafeFileHandle? UserNamespaceOf(SafeFileHandle process)
    {
        const nuint PIDFD_GET_USER_NAMESPACE = 0xFF09;
        int fd = ioctl(process, PIDFD_GET_USER_NAMESPACE, null);
        return fd < 0 ? null : new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>Kills a child without a descriptor, and waits for it. Until then no other process has its id.</summary>
    public static void KillChild(int processId)
    {
        _ = kill(processId, SigKill);
        while (waitpid(processId, null, 0) < 0 && Libc.Errno == Libc.EINTR)
        {
        }
    }

    /// <summary>Waits for a child of this process, if it has ended.</summary>
    /// <param name="child">The child.</param>
    /// <param name="exitCode">Its exit status, or 128 and the signal; null when the system kept none.</param>
    /// <returns>Whether it has ended; true also when it is no child, or has been waited for.</returns>
    public static bool TryReap(SafeFileHandle child, out int? exitCode)
    {
        exitCode = null;
        int result;
        Libc.ChildInfo status;
        while ((result = waitid(Libc.P_PIDFD, child, out status, Libc.WEXITED | Libc.WNOHANG)) != 0 && Libc.Errno == Libc.EINTR)
        {
        }

        if (result != 0)
            return Libc.Errno == Libc.ECHILD;
        if (status.ProcessId == 0)
            return false;
        exitCode = status.HasExited ? status.Status : 128 + status.Status;
        return true;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int processId, int signal);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitpid(int processId, int* status, int options);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitid(int kind, SafeFileHandle process, out Libc.ChildInfo status, int options);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, SafeFileHandle process, nint signal, nint info = 0, nint flags = 0);
}
