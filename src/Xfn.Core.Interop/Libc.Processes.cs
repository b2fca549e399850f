using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>Processes.</content>
internal static unsafe partial class Libc
{
    // Numbers from 424 on are the same on all processors.
    public const nint SYS_pidfd_send_signal = 424;
    public const nint SYS_pidfd_open = 434;
    public const nint SYS_pidfd_getfd = 438;

    public const int SIGKILL = 9;
    public const int SIGCHLD = 17;

    public const int P_PIDFD = 3;
    public const int WNOHANG = 1;
    public const int WEXITED = 4;
    public const int WNOWAIT = 0x0100_0000;
    public const short POLLIN = 1;

    [StructLayout(LayoutKind.Sequential)]
    public struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    /// <summary>siginfo_t, as it is filled in for SIGCHLD.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    public struct ChildInfo
    {
        [FieldOffset(8)] public int Code;
        [FieldOffset(16)] public int ProcessId;
        [FieldOffset(24)] public int Status;

        /// <summary>Whether it exited; else a signal ended it, which is its status.</summary>
        public readonly bool HasExited => Code == 1;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int poll(PollFd* fds, nuint count, int timeout);
}
