using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <content>Names looked up from an open directory, and what the system says of a file.</content>
internal static unsafe partial class Posix
{
    private const int WorkingDirectory = -100;
    private const int NoFollow = 0x100;
    private const int EmptyPath = 0x1000;
    private const uint BasicStatus = 0x7ff;

    // The processors number this flag differently.
    private static int OpenNoFollow => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    /// <summary>Opens a name of a directory, itself when it is a link, for nothing but to look at it and to go on from it; null when there is none.</summary>
    /// <param name="directory">The directory; null for the root.</param>
    /// <param name="name">The name.</param>
    /// <param name="path">The whole of it, for an error.</param>
    public static SafeFileHandle? TryOpenEntry(SafeFileHandle? directory, string name, string path)
    {
        const int onlyThePlace = 0x200000;
        int flags = onlyThePlace | CloseOnExec | OpenNoFollow;
        int fd = directory is null ? openat(WorkingDirectory, name, flags) : openat(directory, name, flags);
        return fd < 0 && Marshal.GetLastPInvokeError() == ENOENT ? null : new SafeFileHandle(Check(fd, "open", path), ownsHandle: true);
    }

    /// <summary>Makes a directory; that there is one already is no error.</summary>
    public static void MakeDirectory(SafeFileHandle parent, string name, UnixFileMode mode, string path)
    {
        if (mkdirat(parent, name, (uint)mode) != 0 && Marshal.GetLastPInvokeError() is var error and not EEXIST)
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

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int openat(int directory, string path, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int openat(SafeFileHandle directory, string path, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int mkdirat(SafeFileHandle directory, string path, uint mode);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial nint readlinkat(SafeFileHandle link, string path, byte* target, nuint size);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statx(int directory, string path, int flags, uint mask, out FileStatus status);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int statx(SafeFileHandle directory, string path, int flags, uint mask, out FileStatus status);

    /// <summary>struct statx, which is the same for all processors.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct FileStatus
    {
        [FieldOffset(20)]
        public uint Uid;

        [FieldOffset(24)]
        public uint Gid;

        [FieldOffset(28)]
        public ushort Mode;

        [FieldOffset(32)]
        public ulong Inode;

        [FieldOffset(48)]
        public ulong Blocks;

        [FieldOffset(136)]
        public uint DeviceMajor;

        [FieldOffset(140)]
        public uint DeviceMinor;

        public readonly FileIdentity Identity => new((ulong)DeviceMajor << 32 | DeviceMinor, Inode);

        public readonly uint Permissions => (uint)Mode & 0xfff;

        public readonly UnixFileKind Kind => (Mode & 0xf000) switch
        {
            0x8000 => UnixFileKind.Regular,
            0x4000 => UnixFileKind.Directory,
            0xc000 => UnixFileKind.Socket,
            0xa000 => UnixFileKind.Link,
            _ => UnixFileKind.Other,
        };
    }
}
