using System.Runtime.InteropServices;

namespace Xfn.Core.Spark;

/// <summary>The C library's functions, as it declares them. Each part of spark adds those it uses in a file of its own.</summary>
internal static unsafe partial class Libc
{
    public const int EINTR = 4;
    public const int EAGAIN = 11;

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint write(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int close(int fd);

    /// <summary>The error number of the last failed call.</summary>
    public static int Errno => Marshal.GetLastPInvokeError();

    /// <summary>What the system calls an error number: <c>No such file or directory</c>.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);
}
