using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Mounts;

/// <summary>Mounts an image's layers as one root, with overlayfs.</summary>
/// <remarks>The leftmost lower directory is the uppermost. Above the layers lies a <see cref="MountPointTree"/>: it
/// supplies the mount points that the image lacks, and shadows those that the image made a link, which a runtime might
/// follow out of the root. An overlay without an upper directory needs two lower ones at least, so that tree also lets
/// an image have one layer.</remarks>
internal static unsafe class RootFileSystem
{
    /// <summary>Mounts the root at <c>NAME</c> in the scratch file system; call it in the store's directory.</summary>
    /// <param name="scratch">Where to make what is needed besides.</param>
    /// <param name="name">The root's name there.</param>
    /// <param name="tree">The layers, and what the root has besides.</param>
    /// <param name="writableBytes">The size of a writable layer on top; 0 for a read-only root.</param>
    /// <returns>The root's path.</returns>
    public static string Mount(ScratchTmpfs scratch, string name, MountPointTree tree, long writableBytes = 0)
    {
        List<string> lowers = [tree.Make(scratch), .. tree.Root.Layers.Directories];
        if (tree.MakeBottom(scratch) is { } bottom)
            lowers.Add(bottom);

        string target = scratch.NewDirectory(name);
        string? upper = writableBytes == 0 ? null : scratch.MountWritable("upper", writableBytes);

        // The directory on top decides mode and owner of the root.
        if (upper is not null)
            tree.Own(ScratchTmpfs.MakeDirectory($"{upper}/files", tree.Root.Mode));
        MountOverlay(scratch, $"{name}.layers", lowers, upper, target);
        if (!MakeMissing(tree, target, lowers[0]))
            return target;

        // What an overlay is made of must not change under it.
        if (Libc.umount2(target, 0) != 0)
            throw SparkException.FromErrno("cannot mount the root anew");
        MountOverlay(scratch, $"{name}.again", lowers, upper, target);
        return target;
    }

    private static bool MakeMissing(MountPointTree tree, string root, string above)
    {
        if (tree.Root.Directories.Count == 0)
            return false;
        using Descriptor rootFd = Directories.Open(root), aboveFd = Directories.Open(above);
        return tree.MakeMissing(rootFd, aboveFd);
    }

    /// <summary>Mounts an overlay.</summary>
    /// <param name="scratch">Where to make what is needed besides.</param>
    /// <param name="links">A name in it that may be used for that.</param>
    /// <param name="lowers">The lower directories, the uppermost first.</param>
    /// <param name="upper">A writable directory; its <c>files</c> is the upper directory. Null for none.</param>
    /// <param name="target">Where to mount it. A link is followed.</param>
    public static void MountOverlay(ScratchTmpfs scratch, string links, List<string> lowers, string? upper, string target)
    {
        if (!TryMountByParts(lowers, upper, target))
            MountByOptions(scratch.NewDirectory(links), lowers, upper, target);
    }

    /// <summary>One call a lower directory (Linux 6.7): their number is bounded by the kernel's 500 only.</summary>
    /// <returns>Whether the kernel can do so.</returns>
    private static bool TryMountByParts(List<string> lowers, string? upper, string target)
    {
        using Descriptor fs = OpenOverlay();
        if (fs < 0)
            return Libc.Errno == Libc.ENOSYS ? false : throw Refused("cannot use overlayfs", Libc.Errno);
        foreach (string lower in lowers)
        {
            if (Configure(fs, Libc.FSCONFIG_SET_STRING, "lowerdir+", lower) == 0)
                continue;
            if (Libc.Errno == Libc.EINVAL)
                return false;
            throw Refused(fs, $"cannot use '{lower}' as a layer of the root");
        }

        // Without userxattr overlayfs reads marks that only the machine's root writes; deleted directories then fail.
        bool configured = upper is null
            ? Configure(fs, Libc.FSCONFIG_SET_FLAG, "ro", null) == 0
            : Configure(fs, Libc.FSCONFIG_SET_STRING, "upperdir", $"{upper}/files") == 0
                && Configure(fs, Libc.FSCONFIG_SET_STRING, "workdir", ScratchTmpfs.MakeDirectory($"{upper}/work")) == 0;
        if (!configured || Configure(fs, Libc.FSCONFIG_SET_FLAG, "userxattr", null) != 0
            || Libc.syscall(Libc.SYS_fsconfig, fs, Libc.FSCONFIG_CMD_CREATE) != 0)
        {
            // Before Linux 6.5 any option is taken down here, and looked at only now.
            if (Libc.Errno == Libc.EINVAL)
                return false;
            throw Refused(fs, $"cannot mount {lowers.Count} layers with overlayfs");
        }

        using Descriptor mount = (int)Libc.syscall(
            Libc.SYS_fsmount, fs, Libc.FSMOUNT_CLOEXEC, (upper is null ? Libc.MOUNT_ATTR_RDONLY : 0) | Libc.MOUNT_ATTR_NOSUID | Libc.MOUNT_ATTR_NODEV);
        if (mount < 0)
            throw Refused(fs, $"cannot mount {lowers.Count} layers with overlayfs");
        Attach(mount, target);
        return true;
    }

    /// <summary>Mounts by one option string. The kernel silently cuts it off after a page: names are short.</summary>
    private static void MountByOptions(string links, List<string> lowers, string? upper, string target)
    {
        for (int i = 0; i < lowers.Count; i++)
        {
            int fd = Libc.open(lowers[i], Libc.O_PATH | Libc.O_CLOEXEC);
            if (fd < 0 || Libc.symlink($"/proc/self/fd/{fd}", $"{links}/{i}") != 0)
                throw SparkException.FromErrno($"cannot use '{lowers[i]}' as a layer of the root");
        }

        string options = "userxattr,lowerdir=" + string.Join(':', Enumerable.Range(0, lowers.Count));
        if (upper is not null)
            options += $",upperdir={upper}/files,workdir={ScratchTmpfs.MakeDirectory($"{upper}/work")}";
        if (options.Length > 4000)
            throw new SparkException(SparkFailureKind.Image, $"cannot mount {lowers.Count} layers: more than this kernel takes");

        // The store may be walked through, not read.
        using Descriptor here = Libc.open(".", Libc.O_PATH | Libc.O_CLOEXEC);
        if (Libc.chdir(links) != 0 || Libc.mount("xfn", target, "overlay", (upper is null ? Libc.MS_RDONLY : 0) | Libc.MS_NOSUID | Libc.MS_NODEV, options) != 0)
            throw Refused($"cannot mount {lowers.Count} layers with overlayfs", Libc.Errno);
        if (Libc.chdir($"/proc/self/fd/{(int)here}") != 0)
            throw SparkException.FromErrno("cannot return to the store");
    }

    private static int OpenOverlay()
    {
        fixed (byte* name = "overlay"u8)
            return (int)Libc.syscall(Libc.SYS_fsopen, (nint)name, Libc.FSOPEN_CLOEXEC);
    }

    private static int Configure(int fs, int command, string key, string? value)
    {
        fixed (byte* k = Utf8(key), v = value is null ? null : Utf8(value))
            return (int)Libc.syscall(Libc.SYS_fsconfig, fs, command, (nint)k, (nint)v);
    }

    private static void Attach(int mount, string target)
    {
        fixed (byte* empty = "\0"u8, path = Utf8(target))
        {
            if (Libc.syscall(Libc.SYS_move_mount, mount, (nint)empty, Libc.AT_FDCWD, (nint)path, Libc.MOVE_MOUNT_F_EMPTY_PATH | Libc.MOVE_MOUNT_T_SYMLINKS) != 0)
                throw SparkException.FromErrno($"cannot attach an overlay at '{target}'");
        }
    }

    /// <summary>The error, with the file system's last message, which is read from its descriptor.</summary>
    private static SparkException Refused(int fs, string tried)
    {
        int errno = Libc.Errno;
        byte* buffer = stackalloc byte[512];
        string said = "";
        while (Libc.read(fs, buffer, 512) is > 2 and var count)
            said = $" ({System.Text.Encoding.UTF8.GetString(buffer + 2, (int)count - 2).TrimEnd()})";
        return Refused(tried + said, errno);
    }

    /// <summary>Tells a kernel that lets this namespace have no such overlay from other troubles.</summary>
    private static SparkException Refused(string tried, int errno) =>
        SparkException.FromErrno(tried, errno, errno is Libc.EPERM or Libc.ENODEV or Libc.EINVAL or Libc.EOPNOTSUPP ? SparkFailureKind.NoOverlay : SparkFailureKind.Overlay);

    private static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text + '\0');
}
