using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Server;

/// <summary>The system calls that neither .NET nor Mono.Posix has.</summary>
internal static partial class Libc
{
    public const int SocketLevel = 1; // SOL_SOCKET
    public const int PeerCredentials = 17; // SO_PEERCRED
    public const int PeerPidFd = 77; // SO_PEERPIDFD, Linux 6.5

    private const ulong PidFdGetUserNamespace = 0xFF09; // PIDFD_GET_USER_NAMESPACE, Linux 6.11
    private const short PollIn = 1;

    /// <summary>The user namespace of a process; null when the kernel does not say it so.</summary>
    public static SafeFileHandle? UserNamespaceOf(SafeFileHandle pidFd)
    {
        int fd = Ioctl(pidFd, PidFdGetUserNamespace, 0);
        return fd < 0 ? null : new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>Whether a process goes on.</summary>
    public static bool IsAlive(SafeFileHandle pidFd)
    {
        // A process that has ended makes its descriptor readable.
        var poll = new PollFd { Fd = (int)pidFd.DangerousGetHandle(), Events = PollIn };
        return Poll(ref poll, 1, 0) == 0;
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Ioctl(SafeFileHandle fd, ulong request, nint argument);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(ref PollFd fds, ulong count, int timeout);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    private static partial int ChangeMode(SafeHandle fd, uint mode);

    /// <summary>Sets the mode that a socket's file will have when it is bound.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public static void SetMode(SafeHandle socket, uint mode)
    {
        if (ChangeMode(socket, mode) != 0)
            throw new IOException($"cannot set the mode of a socket: error {Marshal.GetLastPInvokeError()}");
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }
}
