using System.Runtime.InteropServices;

namespace Xfn.Core.Spark.Interop;

/// <summary>Calls on files, all relative to an open directory.</summary>
internal static unsafe partial class Libc
{
    public const int EIO = 5;
    public const int E2BIG = 7;
    public const int EACCES = 13;
    public const int EXDEV = 18;
    public const int ENOTDIR = 20;
    public const int EISDIR = 21;
    public const int EMLINK = 31;
    public const int ERANGE = 34;
    public const int ENAMETOOLONG = 36;
    public const int ENOTEMPTY = 39;
    public const int ELOOP = 40;
    public const int ENODATA = 61;
    public const int EOPNOTSUPP = 95;

    public const int O_EXCL = 0x80;

    // Where the architectures differ. Both are of the kernel's ABI, so they can be told apart once.
    public static readonly int O_DIRECTORY = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x4000 : 0x10000;
    public static readonly int O_NOFOLLOW = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    public const int AT_SYMLINK_NOFOLLOW = 0x100;
    public const int AT_REMOVEDIR = 0x200;
    public const int AT_EMPTY_PATH = 0x1000;

    public const uint S_IFMT = 0xF000;
    public const uint S_IFIFO = 0x1000;
    public const uint S_IFCHR = 0x2000;
    public const uint S_IFDIR = 0x4000;
    public const uint S_IFREG = 0x8000;
    public const uint S_IFLNK = 0xA000;

    public const ulong RESOLVE_NO_XDEV = 0x01;
    public const ulong RESOLVE_NO_SYMLINKS = 0x04;
    public const ulong RESOLVE_BENEATH = 0x08;

    public const int F_SETPIPE_SZ = 1031;

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    /// <summary>The kernel's <c>struct statx</c>: the same on every architecture, unlike <c>struct stat</c>.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct FileStatus
    {
        [FieldOffset(16)] public uint Links;
        [FieldOffset(20)] public uint Uid;
        [FieldOffset(24)] public uint Gid;
        [FieldOffset(28)] public ushort Mode;
        [FieldOffset(32)] public ulong Inode;
        [FieldOffset(40)] public ulong Size;
        [FieldOffset(48)] public ulong Blocks;
        [FieldOffset(112)] public long ModifiedSeconds;
        [FieldOffset(120)] public uint ModifiedNanoseconds;
        [FieldOffset(128)] public uint RawDeviceMajor;
        [FieldOffset(132)] public uint RawDeviceMinor;
        [FieldOffset(136)] public uint DeviceMajor;
        [FieldOffset(140)] public uint DeviceMinor;

        public readonly uint Type => Mode & S_IFMT;

        public readonly uint Permissions => Mode & 0xFFFu;

        /// <summary>Overlayfs's whiteout. An unpacked layer has no other devices.</summary>
        public readonly bool IsWhiteout => Type == S_IFCHR && RawDeviceMajor == 0 && RawDeviceMinor == 0;
    }

    /// <summary>Opens a path by rules for its resolution. What is below a root is looked up again for as long as the
    /// kernel asks for that: it cannot be sure of <c>..</c> when something was renamed or mounted meanwhile, anywhere.</summary>
    public static int OpenAt2(int directory, byte* path, int flags, ulong resolve)
    {
        var how = new OpenHow { Flags = (uint)flags, Resolve = resolve };
        int fd;
        do
            fd = (int)syscall(SYS_openat2, directory, (nint)path, (nint)(&how), sizeof(OpenHow));
        while (fd < 0 && Errno is (EAGAIN or EINTR));
        return fd;
    }

    /// <summary>The status of a name itself, never of what a link points to.</summary>
    public static int Status(int directory, byte* name, out FileStatus status)
    {
        const uint basicStats = 0x7ff;
        status = default;
        fixed (FileStatus* s = &status)
            return statx(directory, name, AT_SYMLINK_NOFOLLOW, basicStats, s);
    }

    /// <summary>The status of an open file.</summary>
    public static int Status(int fd, out FileStatus status)
    {
        const uint basicStats = 0x7ff;
        byte empty = 0;
        status = default;
        fixed (FileStatus* s = &status)
            return statx(fd, &empty, AT_EMPTY_PATH, basicStats, s);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int statx(int directory, byte* path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int openat(int directory, byte* path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mkdirat(int directory, byte* path, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mknodat(int directory, byte* path, uint mode, ulong device);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int symlinkat(byte* target, int directory, byte* path);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int linkat(int oldDirectory, byte* oldPath, int newDirectory, byte* newPath, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int unlinkat(int directory, byte* path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint readlinkat(int directory, byte* path, byte* buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchmod(int fd, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchmodat(int directory, byte* path, uint mode, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchown(int fd, uint uid, uint gid);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fchownat(int directory, byte* path, uint uid, uint gid, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int futimens(int fd, TimeSpec* times);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int utimensat(int directory, byte* path, TimeSpec* times, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint pwrite(int fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    public static partial long lseek(int fd, long offset, int whence);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint splice(int input, long* inputOffset, int output, long* outputOffset, nuint length, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint copy_file_range(int input, long* inputOffset, int output, long* outputOffset, nuint length, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fcntl(int fd, int command, nint argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int dup(int fd);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fsetxattr(int fd, byte* name, byte* value, nuint size, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint fgetxattr(int fd, byte* name, byte* value, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint flistxattr(int fd, byte* list, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fremovexattr(int fd, byte* name);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint getdents64(int fd, byte* buffer, nuint size);
}
