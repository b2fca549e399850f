using Xfn.Core.Spark.Mounts;
using Xfn.Core.Spark.Unpack;

namespace Xfn.Core.Spark;

/// <summary>Work on the store. The working directory is the only place where this process may write; what it makes there belongs to the mapped root.</summary>
internal static class StoreWork
{
    private const string Files = "fs";

    /// <summary>Unpacks the layer that follows on stdin.</summary>
    public static SparkUnpacked Unpack(SparkUnpack request)
    {
        int here = OpenDirectory(".");
        if (request.LowerDirectories.Count > 0 && Libc.chdir(request.StoreDirectory) != 0)
            throw SparkException.FromErrno($"cannot enter '{request.StoreDirectory}'");
        Identity.BecomeRoot();
        int lower = request.LowerDirectories.Count == 0
            ? -1
            : OpenDirectory(RootFileSystem.Mount(Workspace.Mount(null, outerProc: true), "rootfs", request.LowerDirectories, new Skeleton()));
        if (Libc.mkdirat(here, Files, 0b111_101_101) != 0)
            throw SparkException.FromErrno($"cannot make directory '{Files}'");
        return LayerUnpacker.Unpack(Control.InputFd, OpenDirectory(Files, here), request, lower);
    }

    /// <summary>Removes a tree.</summary>
    public static SparkRemoved Remove(SparkRemove request)
    {
        Identity.BecomeRoot();
        TreeRemover.Remove(OpenDirectory("."), System.Text.Encoding.UTF8.GetBytes(request.Name));
        return new SparkRemoved();
    }

    private static int OpenDirectory(string path, int from = Libc.AT_FDCWD)
    {
        int fd = Libc.openat(from, path, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0);
        return fd >= 0 ? fd : throw SparkException.FromErrno($"cannot open directory '{path}'");
    }
}
