using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;

namespace Xfn.Core.Interop;

/// <summary>POSIX calls that .NET lacks. They throw <see cref="IOException"/>s with errno as HResult.</summary>
/// <remarks>Only this file uses Mono.Unix, and not its native helper: a program copied without that works.</remarks>
internal static unsafe partial class Posix
{
    public const int SigKill = 9;
    public const int SigTerm = 15;

    public static uint EffectiveUserId => Syscall.geteuid();

    public static uint EffectiveGroupId => Syscall.getegid();

    public static int OpenNonBlocking(string path, FileAccess access) => Check(
        Libc.open(path, Libc.O_NONBLOCK | Libc.O_CLOEXEC | (access == FileAccess.Read ? Libc.O_RDONLY : Libc.O_WRONLY)), "open", path);

    /// <summary>Opens a file to be read; null when there is none.</summary>
    public static SafeFileHandle? TryOpen(string path)
    {
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC);
        return fd < 0 && Libc.Errno is Libc.ENOENT or Libc.ENOTDIR or Libc.ENODEV ? null : new SafeFileHandle(Check(fd, "open", path), ownsHandle: true);
    }

    /// <summary>Writes a byte.</summary>
    /// <returns>Whether it was taken.</returns>
    public static bool TryWrite(SafeFileHandle file, byte value) => write(file, &value, 1) == 1;

    /// <summary>How many bytes lie in a pipe.</summary>
    public static int BytesIn(SafePipeHandle pipe)
    {
        const nuint bytesToRead = 0x541b;
        int bytes;
        Check(ioctl(pipe, bytesToRead, &bytes), "look into", "a pipe");
        return bytes;
    }

    /// <summary>Whether an open file is a pipe, or a named one.</summary>
    public static bool IsPipe(SafeHandle file) => fcntl(file, Libc.F_GETPIPE_SZ) >= 0;

    /// <summary>Gives an open file to another user.</summary>
    /// <returns>Whether that was allowed.</returns>
    public static bool TryChangeOwner(SafePipeHandle file, uint uid, uint gid) => Syscall.fchown((int)file.DangerousGetHandle(), (int)uid, (int)gid) == 0;

    /// <summary>The user that a file or directory belongs to.</summary>
    public static uint OwnerOf(string path)
    {
        Check(TryStatus(path, 0, out Libc.FileStatus status), "look at", path);
        return status.Uid;
    }

    /// <summary>The bytes that a file, directory or link takes on disk; 0 when it is missing or unknown.</summary>
    public static long DiskBytesOf(string path) =>
        TryStatus(path, Libc.AT_SYMLINK_NOFOLLOW, out Libc.FileStatus status) == 0 ? status.DiskBytes : 0;

    /// <summary>Whether an open file is the one that a path leads to.</summary>
    public static bool IsFileAt(SafeFileHandle file, string path) => IdentityOf(file) is { } open && IdentityOf(path) is { } there && open == there;

    /// <summary>Which file a path leads to; null when it leads nowhere, or the caller may not know.</summary>
    public static FileIdentity? IdentityOf(string path) => TryStatus(path, 0, out Libc.FileStatus status) == 0 ? IdentityOf(status) : null;

    /// <summary>Which file an open one is.</summary>
    public static FileIdentity? IdentityOf(SafeFileHandle file) =>
        statx(file, "", Libc.AT_EMPTY_PATH, Libc.STATX_BASIC_STATS, out Libc.FileStatus status) == 0 ? IdentityOf(status) : null;

    /// <summary>Owner, kind and mode of a path, of a link itself; null when there is nothing.</summary>
    /// <exception cref="IOException">The system does not tell.</exception>
    public static (uint Owner, UnixFileKind Kind, uint Mode)? LookAt(string path)
    {
        int result = TryStatus(path, Libc.AT_SYMLINK_NOFOLLOW, out Libc.FileStatus status);
        if (result != 0 && Libc.Errno == Libc.ENOENT)
            return null;
        Check(result, "look at", path);
        return (status.Uid, KindOf(status), status.Permissions);
    }

    /// <summary>Owner, group, kind and mode of an open file, which may be a link that was opened itself. Its name is
    /// for an error.</summary>
    public static (uint Owner, uint Group, UnixFileKind Kind, uint Mode) LookAt(SafeFileHandle file, string path)
    {
        Check(statx(file, "", Libc.AT_EMPTY_PATH, Libc.STATX_BASIC_STATS, out Libc.FileStatus status), "look at", path);
        return (status.Uid, status.Gid, KindOf(status), status.Permissions);
    }

    /// <summary>Whether something other than a file or directory is there: to open it may take for ever.</summary>
    public static bool IsSpecialFile(string path) =>
        TryStatus(path, 0, out Libc.FileStatus status) == 0 && KindOf(status) is not (UnixFileKind.Regular or UnixFileKind.Directory);

    public static void Close(int fd) => _ = Syscall.close(fd);

    /// <summary>Whether the caller may write a file or a directory. On a read-only mount, root may not.</summary>
    public static bool CanWrite(string path)
    {
        const int toWrite = 2;
        return access(path, toWrite) == 0;
    }

    /// <summary>Whether nobody may write to a file or a directory, because what it lies on is mounted read-only.</summary>
    public static bool IsMountedReadOnly(string path) => !CanWrite(path) && Libc.Errno == Libc.EROFS;

    /// <summary>Whether a file has an extended attribute that the caller may see.</summary>
    public static bool HasAttribute(string path, string name) => getxattr(path, name, null, 0) >= 0;

    /// <summary>The free bytes of a path's file system, and files where it counts them; null if unknown.</summary>
    public static (ulong Bytes, ulong? Files)? FreeSpace(string path) => statvfs(path, out FileSystemStatus space) == 0
        ? (space.AvailableBlocks * space.FragmentBytes, space.Files == 0 ? null : space.AvailableFiles)
        : null;

    /// <summary>Waits until a file's content is on disk. FileStream.Flush does not tell if the disk refuses.</summary>
    public static void SyncFile(FileStream file)
    {
        while (Syscall.fsync((int)file.SafeFileHandle.DangerousGetHandle()) != 0)
        {
            int error = Libc.Errno;

            // Some file systems know no such call.
            if (error is Libc.EINVAL or Libc.EROFS or Libc.EOPNOTSUPP)
                return;
            if (error != Libc.EINTR)
                throw Failed("write to disk", file.Name, error);
        }
    }

    /// <summary>Waits until all that was written to a path's file system is on disk.</summary>
    public static void SyncFileSystem(string path)
    {
        using var file = new SafeFileHandle(OpenNonBlocking(path, FileAccess.Read), ownsHandle: true);
        Check(syncfs(file), "write to disk what is cached of", path);
    }

    /// <summary>Takes a lock on an open file, if it is to be had now. It lasts until the file is closed by all who have
    /// it. A shared one others may have too. The file's name is for an error.</summary>
    /// <exception cref="IOException">The file system has no locks.</exception>
    public static bool TryLock(SafeFileHandle file, string path, bool shared)
    {
        const int sharedLock = 1;
        const int exclusiveLock = 2;
        const int atOnce = 4;
        while (flock(file, (shared ? sharedLock : exclusiveLock) | atOnce) != 0)
        {
            int error = Libc.Errno;
            if (error == Libc.EAGAIN)
                return false;
            if (error != Libc.EINTR)
                throw Failed("lock", path, error);
        }

        return true;
    }

    private static int Check(int result, string verb, string path) => result >= 0 ? result : throw Failed(verb, path, Libc.Errno);

    private static IOException Failed(string verb, string path, int error) => new($"cannot {verb} '{path}': {Libc.Describe(error)}", error);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(SafeFileHandle file, byte* bytes, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(SafeHandle file, nuint request, int* value);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(SafeHandle file, int command);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int access(string path, int mode);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial nint getxattr(string path, string name, byte* value, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int syncfs(SafeFileHandle file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(SafeFileHandle file, int operation);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statvfs(string path, out FileSystemStatus status);

    /// <summary>struct statvfs, as all C libraries for 64 bits have it.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct FileSystemStatus
    {
        [FieldOffset(8)]
        public ulong FragmentBytes;

        [FieldOffset(32)]
        public ulong AvailableBlocks;

        [FieldOffset(40)]
        public ulong Files;

        [FieldOffset(56)]
        public ulong AvailableFiles;
    }
}

/// <summary>Which file it is, whatever its name.</summary>
internal readonly record struct FileIdentity(ulong Device, ulong Inode);

/// <summary>What a path can name.</summary>
internal enum UnixFileKind
{
    Other,
    Regular,
    Directory,
    Socket,
    Link,
}
