using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <content>Descriptors of other processes.</content>
internal static unsafe partial class Posix
{
    /// <summary>Takes a copy of another process's descriptor, as ptrace(2) would be allowed to.</summary>
    /// <param name="process">The process.</param>
    /// <param name="number">The descriptor's number there.</param>
    /// <param name="error">0, or what the system said: EPERM where that is forbidden, ENOSYS before Linux 5.6.</param>
    /// <returns>The copy, or -1.</returns>
    public static int TakeDescriptor(SafeFileHandle process, int number, out int error)
    {
        nint fd = syscall(Libc.SYS_pidfd_getfd, process, number);
        error = fd < 0 ? Libc.Errno : 0;
        return (int)fd;
    }

    /// <summary>The id of an open process, as this process's own /proc has it; null when it has ended, or it is no
    /// process.</summary>
    public static int? ProcessIdOf(SafeFileHandle process)
    {
        foreach (string line in File.ReadLines($"/proc/self/fdinfo/{process.DangerousGetHandle()}"))
        {
            if (line.StartsWith("Pid:", StringComparison.Ordinal))
                return int.Parse(line.AsSpan(4), System.Globalization.CultureInfo.InvariantCulture) is > 0 and var id ? id : null;
        }

        return null;
    }

    /// <summary>The network namespace of a socket; null where this process may not know.</summary>
    public static FileIdentity? NetworkOf(SafeSocketHandle socket)
    {
        const nuint socketNetwork = 0x894C;
        int fd = ioctl(socket, socketNetwork, null);
        if (fd < 0)
            return null;
        using var network = new SafeFileHandle(fd, ownsHandle: true);
        return IdentityOf(network);
    }

    /// <summary>The number by which the kernel's tables name an open socket.</summary>
    public static ulong? InodeOf(SafeSocketHandle socket) =>
        statx(socket, "", Libc.AT_EMPTY_PATH, Libc.STATX_BASIC_STATS, out Libc.FileStatus status) == 0 ? status.Inode : null;

    /// <summary>Receives the descriptors that lie in a Unix socket's next byte.</summary>
    /// <param name="connection">The socket, where they have arrived.</param>
    /// <param name="count">How many.</param>
    /// <returns>They; null when there are fewer or more, which are closed.</returns>
    public static SafeFileHandle[]? ReceiveDescriptors(SafeSocketHandle connection, int count)
    {
        const int closeOnExec = 0x40000000, dontWait = 0x40, socketLevel = 1, rights = 1, headerBytes = 16, truncated = 8;
        byte data;
        var vector = new IoVector { Base = &data, Length = 1 };

        // Room for one more than is wanted, so that more are seen, and closed.
        int controlBytes = headerBytes + (count + 2) * sizeof(int);
        byte* control = stackalloc byte[controlBytes];
        var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = (nuint)controlBytes };
        nint received = recvmsg(connection, &message, closeOnExec | dontWait);
        if (received <= 0)
            return null;
        var found = new List<SafeFileHandle>();
        if (message.ControlLength >= headerBytes && *(int*)(control + 8) == socketLevel && *(int*)(control + 12) == rights)
        {
            int length = (int)Math.Min(*(ulong*)control, message.ControlLength);
            for (int at = headerBytes; at + sizeof(int) <= length; at += sizeof(int))
                found.Add(new SafeFileHandle(*(int*)(control + at), ownsHandle: true));
        }

        if (found.Count == count && (message.Flags & truncated) == 0)
            return [.. found];
        found.ForEach(descriptor => descriptor.Dispose());
        return null;
    }

    /// <summary>Makes two sockets that are connected to each other, and keep packets apart.</summary>
    public static (SafeFileHandle One, SafeFileHandle Other) MakeSocketPair()
    {
        const int unix = 1, packets = 5;
        int* ends = stackalloc int[2];
        Check(socketpair(unix, packets | Libc.O_CLOEXEC, 0, ends), "make", "a pair of sockets");
        return (new SafeFileHandle(ends[0], ownsHandle: true), new SafeFileHandle(ends[1], ownsHandle: true));
    }

    /// <summary>Sends a packet, and descriptors with it, if there is room for them.</summary>
    /// <returns>0, or the error number: EAGAIN where there is no room now.</returns>
    public static int SendDescriptors(SafeFileHandle socket, ReadOnlySpan<byte> data, ReadOnlySpan<int> descriptors)
    {
        const int socketLevel = 1, rights = 1, headerBytes = 16, tooManyUnderWay = 109;
        int length = headerBytes + descriptors.Length * sizeof(int), controlBytes = (length + 7) / 8 * 8;
        byte* control = stackalloc byte[controlBytes];
        *(long*)control = length;
        (((int*)control)[2], ((int*)control)[3]) = (socketLevel, rights);
        descriptors.CopyTo(new Span<int>(control + headerBytes, descriptors.Length));
        fixed (byte* bytes = data)
        {
            var vector = new IoVector { Base = bytes, Length = (nuint)data.Length };
            var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = descriptors.IsEmpty ? 0 : (nuint)controlBytes };
            while (sendmsg(socket, &message, DoNotWait | NoSignal) < 0)
            {
                if (Libc.Errno is var error and not Libc.EINTR)
                    return error == tooManyUnderWay ? Libc.EAGAIN : error;
            }

            return 0;
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socketpair(int family, int type, int protocol, int* ends);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(SafeFileHandle socket, MessageHeader* message, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statx(SafeSocketHandle file, string path, int flags, uint mask, out Libc.FileStatus status);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(SafeSocketHandle socket, MessageHeader* message, int flags);

    /// <summary>struct iovec.</summary>
    private struct IoVector
    {
        public byte* Base;
        public nuint Length;
    }

    /// <summary>struct msghdr, as the kernel has it on 64 bits.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public byte* Control;
        public nuint ControlLength;
        public int Flags;
    }
}
