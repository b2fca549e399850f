using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>Sockets that .NET is not to wait for.</content>
internal static unsafe partial class Posix
{
    private const int DoNotWait = 0x40, NoSignal = 0x4000;

    /// <summary>Begins to connect, or looks how far that has come.</summary>
    /// <param name="socket">A socket that does not block.</param>
    /// <param name="endpoint">Where to.</param>
    /// <returns>Whether it is connected; null when that is not known yet.</returns>
    public static bool? TryConnect(SafeSocketHandle socket, IPEndPoint endpoint)
    {
        const int isConnected = 106, wasBegun = 114, isBegun = 115;
        SocketAddress address = endpoint.Serialize();
        fixed (byte* bytes = address.Buffer.Span)
        {
            if (connect((int)socket.DangerousGetHandle(), bytes, address.Size) == 0)
                return true;
        }

        return Libc.Errno switch
        {
            isConnected => true,
            wasBegun or isBegun or Libc.EINTR => null,
            _ => false,
        };
    }

    /// <summary>Receives what there is.</summary>
    /// <returns>How many bytes, 0 at the end; -1 and an error number when there are none.</returns>
    public static int Receive(int socket, Span<byte> buffer, out int error)
    {
        fixed (byte* bytes = buffer)
        {
            nint count = recv(socket, bytes, (nuint)buffer.Length, DoNotWait);
            error = count < 0 ? Libc.Errno : 0;
            return (int)count;
        }
    }

    /// <summary>Sends as much as there is room for.</summary>
    /// <returns>How many bytes; -1 and an error number when there is none.</returns>
    public static int Send(int socket, ReadOnlySpan<byte> buffer, out int error)
    {
        fixed (byte* bytes = buffer)
        {
            nint count = send(socket, bytes, (nuint)buffer.Length, DoNotWait | NoSignal);
            error = count < 0 ? Libc.Errno : 0;
            return (int)count;
        }
    }

    /// <summary>Tells the other side of a connection that nothing more comes.</summary>
    public static void ShutDownSending(int socket) => _ = shutdown(socket, 1);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int connect(int socket, byte* address, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int socket, byte* bytes, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(int socket, byte* bytes, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int shutdown(int socket, int how);
}
