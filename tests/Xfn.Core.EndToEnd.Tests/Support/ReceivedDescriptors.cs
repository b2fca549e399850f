using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Takes descriptors that come through a Unix socket (SCM_RIGHTS).</summary>
internal static unsafe partial class ReceivedDescriptors
{
    public static SafeFileHandle[] From(Socket connection)
    {
        const int header = 16, controlBytes = 256, closeOnExec = 0x40000000;
        byte* control = stackalloc byte[controlBytes];
        byte said;
        nint* part = stackalloc nint[2] { (nint)(&said), 1 };
        nint* message = stackalloc nint[7] { 0, 0, (nint)part, 1, (nint)control, controlBytes, 0 };
        nint received = Receive((int)connection.Handle, message, closeOnExec);
        Assert.That((long)received, Is.EqualTo(1), $"recvmsg: error {Marshal.GetLastPInvokeError()}");
        int count = (int)(*(long*)control - header) / sizeof(int);
        return [.. Enumerable.Range(0, count).Select(i => new SafeFileHandle(((int*)(control + header))[i], ownsHandle: true))];
    }

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint Receive(int socket, nint* message, int flags);
}
