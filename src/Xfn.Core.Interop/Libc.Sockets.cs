using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>Sockets, as xfn-spark uses them to hand descriptors over.</content>
internal static unsafe partial class Libc
{
    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct MessagePart
    {
        public byte* Base;
        public nuint Length;
    }

    /// <summary>struct msghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Message
    {
        public byte* Name;
        public uint NameLength;
        public MessagePart* Parts;
        public nuint PartCount;
        public byte* Control;
        public nuint ControlLength;
        public int Flags;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int socket(int family, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int connect(int socket, byte* address, int length);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint sendmsg(int socket, Message* message, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint recvmsg(int socket, Message* message, int flags);
}
