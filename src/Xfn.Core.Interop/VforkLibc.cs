using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <summary>The C library as a container's first process calls it: at once, with nothing of the .NET runtime between.
/// Where it would act on all threads of a process (setresuid and its kin), the kernel is called instead.</summary>
internal static unsafe partial class VforkLibc
{
    /// <summary>The error number of the last failed call.</summary>
    public static int Error
    {
        get => *__errno_location();
        set => *__errno_location() = value;
    }

    public static nint close_range(uint first, uint last)
    {
        const nint SYS_close_range = 436;
        return syscall(SYS_close_range, (nint)first, (nint)last);
    }

    /// <inheritdoc cref="Libc.OpenAt2"/>
    public static nint openat2(int directory, byte* path, Libc.OpenHow* how)
    {
        nint fd;
        do
            fd = syscall(Libc.SYS_openat2, directory, (nint)path, (nint)how, sizeof(Libc.OpenHow));
        while (fd < 0 && Error is (Libc.EAGAIN or Libc.EINTR));
        return fd;
    }

    [LibraryImport("libc"), SuppressGCTransition]
    private static partial int* __errno_location();

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial nint syscall(nint number, nint a, nint b = 0, nint c = 0, nint d = 0, nint e = 0);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int mount(byte* source, byte* target, byte* type, nuint flags, byte* data);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int umount2(byte* target, int flags);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int openat(int directory, byte* path, int flags, uint mode);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int close(int fd);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial nint write(int fd, byte* buffer, nuint count);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int mkdirat(int directory, byte* path, uint mode);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int symlinkat(byte* target, int directory, byte* path);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int faccessat(int directory, byte* path, int mode, int flags);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int fstatfs(int fd, Libc.FileSystemStatus* status);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int fchown(int fd, uint uid, uint gid);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int dup3(int fd, int to, int flags);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int chdir(byte* path);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int fchdir(int fd);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int setsid();

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int sethostname(byte* name, nuint length);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial uint umask(uint mask);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int setrlimit(int resource, ulong* limit);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int getrusage(int who, Libc.RUsage* usage);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int prctl(int option, nuint a, nuint b = 0, nuint c = 0, nuint d = 0);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int socket(int family, int type, int protocol);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int ioctl(int fd, nuint request, void* argument);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int setns(int fd, int kinds);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int unshare(int flags);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int bind(int socket, byte* address, int length);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int listen(int socket, int backlog);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int setsockopt(int socket, int level, int name, void* value, int length);

    [LibraryImport("libc"), SuppressGCTransition]
    public static partial int execve(byte* path, byte** arguments, byte** environment);
}
