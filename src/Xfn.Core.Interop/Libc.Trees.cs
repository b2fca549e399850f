using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>Trees of files, as xfn-spark reads and writes them: all calls are relative to an open directory.</content>
internal static unsafe partial class Libc
{
    public const ulong RESOLVE_NO_XDEV = 0x01;
    public const ulong RESOLVE_NO_MAGICLINKS = 0x02;
    public const ulong RESOLVE_NO_SYMLINKS = 0x04;
    public const ulong RESOLVE_BENEATH = 0x08;
    public const ulong RESOLVE_IN_ROOT = 0x10;

    public const nint SYS_openat2 = 437;

    public const int SEEK_DATA = 3;
    public const int SEEK_HOLE = 4;

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    public partial struct FileStatus
    {
        public readonly TimeSpec Modified => new() { Seconds = ModifiedSeconds, Nanoseconds = ModifiedNanoseconds };

        /// <summary>Overlayfs's whiteout. An unpacked layer has no other devices.</summary>
        public readonly bool IsWhiteout => Type == S_IFCHR && RawDeviceMajor == 0 && RawDeviceMinor == 0;
    }

    /// <summary>open_how of openat2(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct OpenHow
    {
        public ulong Flags;
        public ulong Mode;
        public ulong Resolve;
    }

    /// <summary>Opens a path by rules for its resolution. What is below a root is looked up again for as long as the
    /// kernel asks for that: it cannot be sure of <c>..</c> when something was renamed or mounted meanwhile,
    /// anywhere.</summary>
    /// <returns>The descriptor, or the negative error number.</returns>
    public static int OpenAt2(int directory, ReadOnlySpan<byte> path, int flags, ulong resolve)
    {
        var how = new OpenHow { Flags = (uint)flags, Resolve = resolve };
        int fd;
        fixed (byte* name = path)
        {
            do
                fd = (int)syscall(SYS_openat2, directory, (nint)name, (nint)(&how), sizeof(OpenHow));
            while (fd < 0 && Errno is (EAGAIN or EINTR));
        }

        return fd >= 0 ? fd : -Errno;
    }

    /// <summary>Opens a directory to read it, but not by a link.</summary>
    public static int OpenDirectory(int parent, ReadOnlySpan<byte> name) =>
        openat(parent, name, O_RDONLY | Processor.O_DIRECTORY | Processor.O_NOFOLLOW | O_CLOEXEC);

    /// <summary>The status of a name itself, never of what a link points to.</summary>
    public static int Status(int directory, ReadOnlySpan<byte> name, out FileStatus status) =>
        statx(directory, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, out status);

    /// <summary>The status of an open file.</summary>
    public static int Status(int fd, out FileStatus status) => statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, out status);

    public static bool IsRegularFile(int fd) => Status(fd, out FileStatus status) == 0 && status.Type == S_IFREG;

    [LibraryImport("libc", SetLastError = true)]
    private static partial int statx(int directory, ReadOnlySpan<byte> path, int flags, uint mask, out FileStatus status);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint pread(int fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint write(int fd, byte* buffer, nuint count);

    /// <summary>Writes all of it, in as many calls as that takes.</summary>
    /// <returns>Whether it was written; if not, there is an error number.</returns>
    public static bool TryWriteAll(int fd, ReadOnlySpan<byte> data)
    {
        fixed (byte* start = data)
        {
            for (int done = 0; done < data.Length;)
            {
                nint written = write(fd, start + done, (nuint)(data.Length - done));
                if (written >= 0)
                    done += (int)written;
                else if (Errno != EINTR)
                    return false;
            }
        }

        return true;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint pwrite(int fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    public static partial long lseek(int fd, long offset, int whence);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint copy_file_range(int input, long* inputOffset, int output, long* outputOffset, nuint length, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fcntl(int fd, int command, nint argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int openat(int directory, ReadOnlySpan<byte> path, int flags, uint mode = 0);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mkdirat(int directory, ReadOnlySpan<byte> path, uint mode);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int mkdirat(int directory, string path, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mknodat(int directory, ReadOnlySpan<byte> path, uint mode, ulong device);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int symlinkat(ReadOnlySpan<byte> target, int directory, ReadOnlySpan<byte> path);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int symlink(string target, string path);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int linkat(int oldDirectory, ReadOnlySpan<byte> oldPath, int newDirectory, ReadOnlySpan<byte> newPath, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int unlinkat(int directory, ReadOnlySpan<byte> path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint readlinkat(int directory, ReadOnlySpan<byte> path, Span<byte> buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchmod(int fd, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchmodat(int directory, ReadOnlySpan<byte> path, uint mode, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchown(int fd, uint uid, uint gid);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchownat(int directory, ReadOnlySpan<byte> path, uint uid, uint gid, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int chown(string path, uint owner, uint group);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int futimens(int fd, TimeSpec* times);

    /// <summary>Sets both times of an open file.</summary>
    public static int futimens(int fd, TimeSpec time)
    {
        TimeSpec* times = stackalloc TimeSpec[] { time, time };
        return futimens(fd, times);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int utimensat(int directory, ReadOnlySpan<byte> path, TimeSpec* times, int flags);

    /// <summary>Sets both times of a name itself, never of what a link points to.</summary>
    public static int utimensat(int directory, ReadOnlySpan<byte> path, TimeSpec time)
    {
        TimeSpec* times = stackalloc TimeSpec[] { time, time };
        return utimensat(directory, path, times, AT_SYMLINK_NOFOLLOW);
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fsetxattr(int fd, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, nuint size, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int setxattr(string path, string name, ReadOnlySpan<byte> value, nuint size, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint fgetxattr(int fd, ReadOnlySpan<byte> name, Span<byte> value, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint flistxattr(int fd, Span<byte> list, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fremovexattr(int fd, ReadOnlySpan<byte> name);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint getdents64(int fd, Span<byte> buffer, nuint size);
}
