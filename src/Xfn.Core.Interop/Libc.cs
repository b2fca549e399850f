using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <summary>The C library's functions, as it declares them. A file for each area of the kernel.</summary>
/// <remarks>Names as <c>ReadOnlySpan&lt;byte&gt;</c> end with a NUL; literals have it behind them.</remarks>
internal static unsafe partial class Libc
{
    public const int EPERM = 1;
    public const int ENOENT = 2;
    public const int ESRCH = 3;
    public const int EINTR = 4;
    public const int E2BIG = 7;
    public const int ECHILD = 10;
    public const int EAGAIN = 11;
    public const int EACCES = 13;
    public const int EBUSY = 16;
    public const int EEXIST = 17;
    public const int ENODEV = 19;
    public const int ENOTDIR = 20;
    public const int EISDIR = 21;
    public const int EINVAL = 22;
    public const int ENOSPC = 28;
    public const int EROFS = 30;
    public const int EMLINK = 31;
    public const int ERANGE = 34;
    public const int ENAMETOOLONG = 36;
    public const int ENOSYS = 38;
    public const int ENOTEMPTY = 39;
    public const int ELOOP = 40;
    public const int EOPNOTSUPP = 95;
    public const int EAFNOSUPPORT = 97;
    public const int EADDRINUSE = 98;
    public const int EDQUOT = 122;

    /// <summary>The error number of the last failed call.</summary>
    public static int Errno => Marshal.GetLastPInvokeError();

    /// <summary>What the system calls an error number: <c>No such file or directory</c>.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);

    /// <summary>Calls the kernel where the C library has no function. Unused arguments are 0.</summary>
    [LibraryImport("libc", SetLastError = true)]
    public static partial nint syscall(nint number, nint a, nint b = 0, nint c = 0, nint d = 0, nint e = 0);
}
