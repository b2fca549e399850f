using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <content>Mounts.</content>
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

    public const nint SYS_move_mount = 429;
    public const nint SYS_fsopen = 430;
    public const nint SYS_fsconfig = 431;
    public const nint SYS_fsmount = 432;
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

    public const long CGROUP2_SUPER_MAGIC = 0x63677270;

    /// <summary>struct statfs of 64-bit machines, as far as it is used.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct FileSystemStatus
    {
        [FieldOffset(0)] public long Type;

        /// <summary>f_frsize, in which the file system counts; f_bsize is the best size of a transfer.</summary>
        [FieldOffset(72)] public long BlockBytes;

        /// <summary>The mount's flags, of which the first four are mount(2)'s.</summary>
        [FieldOffset(80)] public nuint Flags;
    }

    /// <summary>struct mount_attr of mount_setattr(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct MountAttributes
    {
        public ulong Set;
        public ulong Clear;
        public ulong Propagation;
        public ulong UserNamespace;
    }

    /// <summary>The kind of file system at a path; 0 when there is none.</summary>
    public static long FileSystemType(string path) => statfs(path, out FileSystemStatus status) == 0 ? status.Type : 0;

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int mount(string source, string target, string? type, nuint flags, string? data);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int umount2(string target, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    public static partial int statfs(string path, out FileSystemStatus status);
}
