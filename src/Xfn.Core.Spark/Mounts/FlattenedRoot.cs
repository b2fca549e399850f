using Xfn.Core.Interop;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Mounts;

/// <summary>Mounts an image that was flattened as one root, where the kernel lets no user namespace mount overlayfs (before Linux 5.11).</summary>
internal static class FlattenedRoot
{
    /// <summary>Mounts the root at <c>NAME</c> in the scratch file system. The working directory must be the
    /// store's.</summary>
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

        // A bind mount takes over what its source has, and what the machine's owner set there this namespace may not take away.
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
