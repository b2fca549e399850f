using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;

namespace Xfn.Core;

/// <summary>The POSIX calls that .NET lacks. The only file that uses the Mono.Unix namespaces; failures carry the system's error number.</summary>
internal static partial class Posix
{
    public const int SigKill = 9;
    public const int SigTerm = 15;

    public static uint EffectiveUserId => Syscall.geteuid();

    public static uint EffectiveGroupId => Syscall.getegid();

    public static int OpenNonBlocking(string path, FileAccess access) => Check(
        Syscall.open(path, OpenFlags.O_NONBLOCK | OpenFlags.O_CLOEXEC | (access == FileAccess.Read ? OpenFlags.O_RDONLY : OpenFlags.O_WRONLY)),
        "open",
        path);

    /// <summary>Opens a file to be read; null when there is none.</summary>
    public static SafeFileHandle? TryOpen(string path)
    {
        int fd = Syscall.open(path, OpenFlags.O_RDONLY | OpenFlags.O_CLOEXEC);
        return fd < 0 && Stdlib.GetLastError() is Errno.ENOENT or Errno.ENOTDIR or Errno.ENODEV ? null : new SafeFileHandle(Check(fd, "open", path), ownsHandle: true);
    }

    /// <summary>Writes a byte.</summary>
    /// <returns>Whether it was taken.</returns>
    public static unsafe bool TryWrite(SafeFileHandle file, byte value) => Syscall.write((int)file.DangerousGetHandle(), &value, 1) == 1;

    /// <summary>Gives an open file to another user.</summary>
    /// <returns>Whether that was allowed.</returns>
    public static bool TryChangeOwner(int fd, uint uid, uint gid) => Syscall.fchown(fd, uid, gid) == 0;

    /// <summary>The user that a file or directory belongs to.</summary>
    public static uint OwnerOf(string path)
    {
        Check(Syscall.stat(path, out Stat stat), "look at", path);
        return stat.st_uid;
    }

    /// <summary>Whether an open file is the one that a path leads to.</summary>
    public static bool IsFileAt(SafeFileHandle file, string path) =>
        Syscall.fstat((int)file.DangerousGetHandle(), out Stat open) == 0 && Syscall.stat(path, out Stat there) == 0 && (open.st_dev, open.st_ino) == (there.st_dev, there.st_ino);

    /// <summary>Which file a path leads to; null when it leads nowhere, or the caller may not know.</summary>
    public static FileIdentity? IdentityOf(string path) => Syscall.stat(path, out Stat stat) == 0 ? new FileIdentity(stat.st_dev, stat.st_ino) : null;

    /// <summary>Which file an open one is.</summary>
    public static FileIdentity? IdentityOf(SafeFileHandle file) => Syscall.fstat((int)file.DangerousGetHandle(), out Stat stat) == 0 ? new FileIdentity(stat.st_dev, stat.st_ino) : null;

    /// <summary>Owner and mode of what a path names, itself when it is a link; null when there is nothing.</summary>
    /// <exception cref="IOException">The system does not tell.</exception>
    public static (uint Owner, UnixFileKind Kind, uint Mode)? LookAt(string path)
    {
        const Errno nothing = Errno.ENOENT;
        if (Syscall.lstat(path, out Stat stat) != 0 && Stdlib.GetLastError() == nothing)
            return null;
        Check(stat.st_nlink == 0 ? -1 : 0, "look at", path);
        UnixFileKind kind = (stat.st_mode & FilePermissions.S_IFMT) switch
        {
            FilePermissions.S_IFDIR => UnixFileKind.Directory,
            FilePermissions.S_IFSOCK => UnixFileKind.Socket,
            FilePermissions.S_IFLNK => UnixFileKind.Link,
            _ => UnixFileKind.Other,
        };
        return (stat.st_uid, kind, (uint)(stat.st_mode & FilePermissions.ALLPERMS));
    }

    /// <summary>Whether there is something that is neither a file nor a directory: opening it may wait for ever.</summary>
    public static bool IsSpecialFile(string path) =>
        Syscall.stat(path, out Stat stat) == 0 && (stat.st_mode & FilePermissions.S_IFMT) is not (FilePermissions.S_IFREG or FilePermissions.S_IFDIR);

    public static void Close(int fd) => _ = Syscall.close(fd);

    /// <summary>Sends a signal; that there is no such process any more is no error.</summary>
    public static void Kill(int pid, int signal) => _ = Syscall.kill(pid, (Signum)signal);

    /// <summary>Waits for a child of this process, if it has ended.</summary>
    /// <param name="pid">The child.</param>
    /// <param name="exitCode">Its exit status; 128 and the signal when one ended it; null when the system kept none.</param>
    /// <returns>Whether it has ended; true also when it is no child, or has been waited for.</returns>
    public static bool TryReap(int pid, out int? exitCode)
    {
        exitCode = null;
        int reaped = Syscall.waitpid(pid, out int status, WaitOptions.WNOHANG);
        if (reaped == pid)
            exitCode = Syscall.WIFEXITED(status) ? Syscall.WEXITSTATUS(status) : 128 + (int)Syscall.WTERMSIG(status);
        return reaped == pid || reaped < 0 && Stdlib.GetLastError() == Errno.ECHILD;
    }

    /// <summary>Whether the caller may write a file, or make entries in a directory. False on a read-only mount, also for root.</summary>
    public static bool CanWrite(string path) => Syscall.access(path, AccessModes.W_OK) == 0;

    /// <summary>Whether a file has an extended attribute that the caller may see.</summary>
    public static bool HasAttribute(string path, string name) => Syscall.getxattr(path, name, [], 0) >= 0;

    /// <summary>What is free on a path's file system: bytes, and files where it counts them; null when it cannot be asked.</summary>
    public static (ulong Bytes, ulong? Files)? FreeSpace(string path) => Syscall.statvfs(path, out Statvfs space) == 0
        ? (space.f_bavail * space.f_frsize, space.f_files == 0 ? null : space.f_favail)
        : null;

    /// <summary>Waits until a file's content is on disk. FileStream.Flush does so too, and tells nobody when the disk refuses.</summary>
    public static void SyncFile(FileStream file)
    {
        while (Syscall.fsync((int)file.SafeFileHandle.DangerousGetHandle()) != 0)
        {
            Errno error = Stdlib.GetLastError();

            // Some file systems know no such call.
            if (error is Errno.EINVAL or Errno.EROFS or Errno.EOPNOTSUPP)
                return;
            if (error != Errno.EINTR)
                throw new IOException($"cannot write '{file.Name}' to disk: {new Win32Exception((int)error).Message}", (int)error);
        }
    }

    /// <summary>Waits until all that was written to a path's file system is on disk.</summary>
    public static void SyncFileSystem(string path)
    {
        using var file = new SafeFileHandle(OpenNonBlocking(path, FileAccess.Read), ownsHandle: true);
        if (syncfs(file) != 0)
            throw new IOException($"cannot write what is cached of '{path}' to disk: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    /// <summary>Takes a lock on an open file, which lasts until it is closed by all who have it.</summary>
    /// <param name="file">The file.</param>
    /// <param name="path">Its name, for an error.</param>
    /// <param name="shared">Whether others may have it in this way too.</param>
    /// <returns>Whether it is to be had now.</returns>
    /// <exception cref="IOException">The file system has no locks.</exception>
    public static bool TryLock(SafeFileHandle file, string path, bool shared)
    {
        const int sharedLock = 1;
        const int exclusiveLock = 2;
        const int atOnce = 4;
        while (flock(file, (shared ? sharedLock : exclusiveLock) | atOnce) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error == (int)Errno.EAGAIN)
                return false;
            if (error != (int)Errno.EINTR)
                throw new IOException($"cannot lock '{path}': {Marshal.GetPInvokeErrorMessage(error)}", error);
        }

        return true;
    }

    // Mono.Unix lacks these.
    [LibraryImport("libc", SetLastError = true)]
    private static partial int syncfs(SafeFileHandle file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(SafeFileHandle file, int operation);

    private static int Check(int result, string verb, string path)
    {
        if (result >= 0)
            return result;
        var error = new Win32Exception((int)Stdlib.GetLastError());
        throw new IOException($"cannot {verb} '{path}': {error.Message}", error);
    }
}

/// <summary>Which file it is, whatever its name.</summary>
internal readonly record struct FileIdentity(ulong Device, ulong Inode);

/// <summary>What a path can name.</summary>
internal enum UnixFileKind
{
    Other,
    Directory,
    Socket,
    Link,
}
