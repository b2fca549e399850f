using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <content>Names looked up from an open directory, and what the system says of a file.</content>
internal static unsafe partial class Posix
{
    /// <summary>Opens a directory's entry, a link itself, to look at it or go on from it; null for none. Without a
    /// directory it is of the root. The whole path is for an error.</summary>
    public static SafeFileHandle? TryOpenEntry(SafeFileHandle? directory, string name, string path)
    {
        int flags = Libc.O_PATH | Libc.O_CLOEXEC | Processor.O_NOFOLLOW;
        int fd = directory is null ? Libc.openat(Libc.AT_FDCWD, name, flags) : openat(directory, name, flags);
        return fd < 0 && Libc.Errno == Libc.ENOENT ? null : new SafeFileHandle(Check(fd, "open", path), ownsHandle: true);
    }

    /// <summary>Opens what a path leads to, to look at it.</summary>
    public static SafeFileHandle OpenToLookAt(string path) => new(Check(Libc.open(path, Libc.O_PATH | Libc.O_CLOEXEC), "open", path), ownsHandle: true);

    /// <summary>The path of an open file, without links; one that is gone has a word behind it.</summary>
    public static string PathOf(SafeFileHandle file) => new FileInfo(PathTo(file)).LinkTarget!;

    /// <summary>A path that leads to an open file, in this process.</summary>
    public static string PathTo(SafeFileHandle file) => $"/proc/self/fd/{file.DangerousGetHandle()}";

    /// <summary>Makes a directory; that there is one already is no error.</summary>
    public static void MakeDirectory(SafeFileHandle parent, string name, UnixFileMode mode, string path)
    {
        if (mkdirat(parent, name, (uint)mode) != 0 && Libc.Errno is var error and not Libc.EEXIST)
            throw Failed("make directory", path, error);
    }

    /// <summary>What an open link says.</summary>
    public static string ReadLink(SafeFileHandle link, string path)
    {
        const int longestPath = 4096;
        byte* target = stackalloc byte[longestPath];
        int length = Check((int)readlinkat(link, "", target, longestPath), "read link", path);
        return Marshal.PtrToStringUTF8((nint)target, length);
    }

    /// <summary>Copies a program into a file that is only in memory, and that nobody can change any more.</summary>
    /// <returns>The copy, to be executed.</returns>
    /// <exception cref="IOException">The system makes none, or none that may be executed.</exception>
    public static SafeFileHandle CopyToSealedMemory(SafeFileHandle program, string name)
    {
        const uint closeOnExec = 1, allowSealing = 2, executable = 0x10;
        const int addSeals = 1033, sealSeals = 1, sealShrink = 2, sealGrow = 4, sealWrite = 8, sealMode = 0x20;
        int fd = memfd_create(name, closeOnExec | allowSealing | executable);

        // Before Linux 6.3 each may be executed, and there is no such flag, nor the seal of the mode.
        if (fd < 0 && Libc.Errno == Libc.EINVAL)
            fd = memfd_create(name, closeOnExec | allowSealing);
        using var file = new SafeFileHandle(Check(fd, "make in memory", name), ownsHandle: true);
        byte[] buffer = new byte[256 << 10];
        long offset = 0;
        for (int count; (count = RandomAccess.Read(program, buffer, offset)) > 0; offset += count)
            RandomAccess.Write(file, buffer.AsSpan(0, count), offset);

        // What somebody has open for writing, as this is, cannot be executed.
        const int seals = sealSeals | sealShrink | sealGrow | sealWrite;
        if (fcntl(file, addSeals, seals | sealMode) < 0)
            Check(fcntl(file, addSeals, seals), "seal", name);
        return new SafeFileHandle(Check(Libc.open(PathTo(file), Libc.O_RDONLY | Libc.O_CLOEXEC), "open", name), ownsHandle: true);
    }

    private static int TryStatus(string path, int flags, out Libc.FileStatus status) =>
        Libc.statx(Libc.AT_FDCWD, path, flags, Libc.STATX_BASIC_STATS, out status);

    private static FileIdentity IdentityOf(in Libc.FileStatus status) => new((ulong)status.DeviceMajor << 32 | status.DeviceMinor, status.Inode);

    private static UnixFileKind KindOf(in Libc.FileStatus status) => status.Type switch
    {
        Libc.S_IFREG => UnixFileKind.Regular,
        Libc.S_IFDIR => UnixFileKind.Directory,
        Libc.S_IFSOCK => UnixFileKind.Socket,
        Libc.S_IFLNK => UnixFileKind.Link,
        _ => UnixFileKind.Other,
    };

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int openat(SafeFileHandle directory, string path, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int mkdirat(SafeFileHandle directory, string path, uint mode);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial nint readlinkat(SafeFileHandle link, string path, byte* target, nuint size);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statx(SafeFileHandle directory, string path, int flags, uint mask, out Libc.FileStatus status);
}
