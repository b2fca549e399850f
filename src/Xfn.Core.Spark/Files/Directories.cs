using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>What is done to directories here and there.</summary>
internal static class Directories
{
    public static int Open(string path, int from = Libc.AT_FDCWD)
    {
        int fd = Libc.openat(from, path, Libc.O_RDONLY | Processor.O_DIRECTORY | Libc.O_CLOEXEC);
        return fd >= 0 ? fd : throw SparkException.FromErrno($"cannot open directory '{path}'");
    }

    /// <summary>Opens a directory below a root, for its names to be read.</summary>
    public static int OpenBelow(int root, ReadOnlySpan<byte> path)
    {
        using Descriptor found = ConfinedPath.Open(root, path);
        int fd = found >= 0 ? Libc.OpenDirectory(found, "."u8) : -1;
        return fd >= 0 ? fd : throw SparkException.FromErrno($"cannot open directory '{ByteText.Show(path)}'", found < 0 ? -found : Libc.Errno);
    }

    /// <summary>The path of a name in a directory.</summary>
    public static byte[] Join(byte[] directory, ReadOnlySpan<byte> name) => directory.Length == 0 ? name.ToArray() : [.. directory, (byte)'/', .. name];

    public static int Make(int parent, string name)
    {
        if (Libc.mkdirat(parent, name, 0b111_101_101) != 0)
            throw SparkException.FromErrno($"cannot make directory '{name}'");
        return Open(name, parent);
    }

    public static void SetModeAndOwner(int fd, uint mode, uint uid, uint gid)
    {
        // Owner first: changing it clears setuid and setgid bits.
        if (Libc.fchown(fd, uid, gid) != 0 || Libc.fchmod(fd, mode) != 0)
            throw SparkException.FromErrno("cannot set mode and owner of the root directory");
    }

    public static void CopyModeAndOwner(int from, int to)
    {
        if (Libc.Status(from, out Libc.FileStatus status) != 0)
            throw SparkException.FromErrno("cannot look at the root directory");
        SetModeAndOwner(to, status.Permissions, status.Uid, status.Gid);
    }

    /// <summary>Whether a directory of a layer hides what lies below it.</summary>
    public static bool IsOpaque(int fd)
    {
        Span<byte> value = stackalloc byte[1];
        return Libc.fgetxattr(fd, "user.overlay.opaque"u8, value, 1) == 1 && value[0] == 'y';
    }
}
