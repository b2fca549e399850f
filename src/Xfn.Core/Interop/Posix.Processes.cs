using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <content>Processes, by descriptors: a process id may be another's by the time that it is used.</content>
internal static unsafe partial class Posix
{
    private const int ProcessDescriptor = 3;
    private const int Exited = 4;

    /// <summary>Opens a process; null when there is none of that id any more.</summary>
    /// <exception cref="IOException">There are no descriptors left, or this kernel has none for processes (before Linux 5.3).</exception>
    public static SafeFileHandle? TryOpenProcess(int processId)
    {
        const nint pidfdOpen = 434;
        nint fd = syscall(pidfdOpen, processId, 0);
        return fd < 0 && Marshal.GetLastPInvokeError() == ESRCH ? null : new SafeFileHandle(Check((int)fd, "open process", $"{processId}"), ownsHandle: true);
    }

    /// <summary>Sends a signal; that the process has ended is no error.</summary>
    public static void Signal(SafeFileHandle process, int signal)
    {
        const nint pidfdSendSignal = 424;
        _ = syscall(pidfdSendSignal, process, signal);
    }

    /// <summary>Kills a child that there is no descriptor of, and waits for it. No other process can have its id before it has been waited for.</summary>
    public static void KillChild(int processId)
    {
        _ = kill(processId, SigKill);
        while (waitpid(processId, null, 0) < 0 && Marshal.GetLastPInvokeError() == EINTR)
        {
        }
    }

    /// <summary>Waits for a child of this process, if it has ended.</summary>
    /// <param name="child">The child.</param>
    /// <param name="exitCode">Its exit status; 128 and the signal when one ended it; null when the system kept none.</param>
    /// <returns>Whether it has ended; true also when it is no child, or has been waited for.</returns>
    public static bool TryReap(SafeFileHandle child, out int? exitCode)
    {
        const int doNotWait = 1;
        exitCode = null;
        int result;
        ChildStatus status;
        while ((result = waitid(ProcessDescriptor, child, out status, Exited | doNotWait)) != 0 && Marshal.GetLastPInvokeError() == EINTR)
        {
        }

        if (result != 0)
            return Marshal.GetLastPInvokeError() == ECHILD;
        if (status.ProcessId == 0)
            return false;
        const int exitedByItself = 1;
        exitCode = status.Code == exitedByItself ? status.Status : 128 + status.Status;
        return true;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int processId, int signal);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitpid(int processId, int* status, int options);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitid(int kind, SafeFileHandle process, out ChildStatus status, int options);

    // These calls have had the same numbers on all processors since they came.
    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint processId, nint flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, SafeFileHandle process, nint signal, nint info = 0, nint flags = 0);

    /// <summary>siginfo_t, as it is filled in for SIGCHLD.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct ChildStatus
    {
        [FieldOffset(8)]
        public int Code;

        [FieldOffset(16)]
        public int ProcessId;

        [FieldOffset(24)]
        public int Status;
    }
}
