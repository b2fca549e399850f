using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>The process that makes a container: its ids, its children.</content>
internal static unsafe partial class Libc
{
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
