using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Mounts;

/// <summary>Mounts a flattened image as root, where users cannot mount overlayfs (before Linux 5.11).</summary>
internal static class FlattenedRoot
{
    /// <summary>Mounts the root at <c>NAME</c> in the scratch file system; call it in the store's directory.</summary>
    /// <param name="scratch">Where to mount it.</param>
    /// <param name="name">The root's name there.</param>
    /// <param name="directory">The flattened image, which has all mount points.</param>
    /// <param name="writableBytes">The size of a writable copy; 0 for a read-only root.</param>
    public static void Mount(ScratchTmpfs scratch, string name, string directory, long writableBytes)
    {
        if (writableBytes == 0)
            Bind(directory, scratch.NewDirectory(name));
        else
            Copy(directory, scratch.MountWritable(name, writableBytes));
    }

    private static void Bind(string directory, string target)
    {
        if (Libc.mount(directory, target, null, Libc.MS_BIND, null) != 0)
            throw SparkException.FromErrno($"cannot mount the flattened image '{directory}'");

        // A bind mount has its source's flags. This namespace may not clear those that the machine's owner set.
        const nuint locked = Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC;
        if (Libc.statfs(target, out Libc.FileSystemStatus status) != 0)
            throw SparkException.FromErrno($"cannot look at the mount of '{target}'");

        // mount_setattr(2) came with Linux 5.12.
        if (Libc.mount("xfn", target, null, Libc.MS_REMOUNT | Libc.MS_BIND | Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV | status.Flags & locked, null) != 0)
            throw SparkException.FromErrno("cannot make the mount of the flattened image read-only");
    }

    private static void Copy(string directory, string target)
    {
        using Descriptor from = Directories.Open(directory), to = Directories.Open(target);
        LayerFlattener.Flatten([from], to);
        Directories.CopyModeAndOwner(from, to);
    }
}
