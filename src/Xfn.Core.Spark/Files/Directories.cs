using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Files;

/// <summary>What is done to directories here and there.</summary>
internal static class Directories
{
    public static int Open(string path, int from = Libc.AT_FDCWD)
    {
        int fd = Libc.openat(from, path, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0);
        return fd >= 0 ? fd : throw SparkException.FromErrno($"cannot open directory '{path}'");
    }

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
}
