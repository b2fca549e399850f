using System.Runtime.InteropServices;

namespace Xfn.Core.Spark.Interop;

internal static unsafe partial class Libc
{
    public const nuint MS_RDONLY = 1;
    public const nuint MS_NOSUID = 2;
    public const nuint MS_NODEV = 4;
    public const nuint MS_NOEXEC = 8;
    public const nuint MS_REMOUNT = 0x20;
    public const nuint MS_BIND = 0x1000;
    public const nuint MS_REC = 0x4000;
    public const nuint MS_PRIVATE = 0x40000;

    public const int AT_FDCWD = -100;

    // System calls newer than 423 have the same number on every architecture.
    public const nint SYS_move_mount = 429;
    public const nint SYS_fsopen = 430;
    public const nint SYS_fsconfig = 431;
    public const nint SYS_fsmount = 432;
    public const nint SYS_openat2 = 437;
    public const nint SYS_mount_setattr = 442;

    public const int FSOPEN_CLOEXEC = 1;
    public const int FSMOUNT_CLOEXEC = 1;
    public const int FSCONFIG_SET_FLAG = 0;
    public const int FSCONFIG_SET_STRING = 1;
    public const int FSCONFIG_CMD_CREATE = 6;
    public const int MOVE_MOUNT_F_EMPTY_PATH = 4;
    public const int MOVE_MOUNT_T_SYMLINKS = 0x10;
    public const nint MOUNT_ATTR_RDONLY = 1;
    public const nint MOUNT_ATTR_NOSUID = 2;
    public const nint MOUNT_ATTR_NODEV = 4;

    public const ulong RESOLVE_NO_MAGICLINKS = 0x02;
    public const ulong RESOLVE_IN_ROOT = 0x10;

    public const int ENODEV = 19;

    public const long CGROUP2_SUPER_MAGIC = 0x63677270;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setxattr(byte* path, byte* name, byte* value, nuint size, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int mount(string source, string target, string? type, nuint flags, string? data);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int umount2(string target, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int chown(string path, uint owner, uint group);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int symlink(string target, string path);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statfs(string path, byte* buffer);

    /// <summary>The kind of file system at a path; 0 when there is none.</summary>
    public static long FileSystemType(string path)
    {
        byte* buffer = stackalloc byte[256];
        return statfs(path, buffer) == 0 ? *(long*)buffer : 0;
    }

    /// <summary>The flags of the mount at a path, of which the first four are mount(2)'s.</summary>
    public static nuint MountFlags(string path)
    {
        // struct statfs of 64-bit machines.
        const int flagsOffset = 80;
        byte* buffer = stackalloc byte[256];
        return statfs(path, buffer) == 0 ? *(nuint*)(buffer + flagsOffset) : throw SparkException.FromErrno($"cannot look at the mount of '{path}'");
    }

    public static bool IsRegularFile(int fd)
    {
        const int atEmptyPath = 0x1000, statxType = 1, modeOffset = 28, typeMask = 0xF000, regular = 0x8000;
        byte* buffer = stackalloc byte[256];
        return statx(fd, "", atEmptyPath, statxType, buffer) == 0 && (*(ushort*)(buffer + modeOffset) & typeMask) == regular;
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statx(int directory, string path, int flags, uint mask, byte* buffer);

    /// <summary>struct mount_attr of mount_setattr(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct MountAttributes
    {
        public ulong Set;
        public ulong Clear;
        public ulong Propagation;
        public ulong UserNamespace;
    }

    /// <summary>open_how of openat2(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct OpenHow
    {
        public ulong Flags;
        public ulong Mode;
        public ulong Resolve;
    }
}
