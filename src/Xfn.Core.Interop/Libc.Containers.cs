using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>The process that makes a container: its ids, its children.</content>
internal static unsafe partial class Libc
{
    public const int PR_SET_DUMPABLE = 4;

    public const int CLONE_VM = 0x100;
    public const int CLONE_FILES = 0x400;
    public const int CLONE_VFORK = 0x4000;
    public const int CLONE_PARENT = 0x8000;
    public const int CLONE_NEWNS = 0x20000;
    public const int CLONE_NEWCGROUP = 0x0200_0000;
    public const int CLONE_NEWUTS = 0x0400_0000;
    public const int CLONE_NEWIPC = 0x0800_0000;
    public const int CLONE_NEWUSER = 0x1000_0000;
    public const int CLONE_NEWPID = 0x2000_0000;
    public const int CLONE_NEWNET = 0x4000_0000;

    /// <summary>struct rusage, as far as it is used.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 144)]
    public struct RUsage
    {
        public long UserSeconds;
        public long UserMicroseconds;
        public long SystemSeconds;
        public long SystemMicroseconds;
        public long MaxResidentKibibytes;

        public readonly long CpuMicroseconds => (UserSeconds + SystemSeconds) * 1_000_000 + UserMicroseconds + SystemMicroseconds;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int clone(delegate* unmanaged[Cdecl]<void*, int> child, void* stack, int flags, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int wait4(int pid, int* status, int options, RUsage* usage);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int pipe2(int* ends, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int chdir(string path);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchdir(int directory);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int chroot(string path);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int ioctl(int fd, nuint request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fstatfs(int fd, out FileSystemStatus status);

    [LibraryImport("libc")]
    public static partial nint signal(int number, nint handler);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setgroups(nuint size, uint* list);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setresgid(uint real, uint effective, uint saved);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setresuid(uint real, uint effective, uint saved);

    [LibraryImport("libc")]
    public static partial int prctl(int option, nint argument);

    [LibraryImport("libc")]
    public static partial uint umask(uint mask);
}
