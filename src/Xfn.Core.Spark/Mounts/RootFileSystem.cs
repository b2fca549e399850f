namespace Xfn.Core.Spark.Mounts;

/// <summary>Mounts an image's layers as one root, with overlayfs.</summary>
/// <remarks>The leftmost lower directory is the uppermost. Above the layers lies a skeleton that holds the mount points and nothing else: it supplies those that
/// the image lacks, and shadows those that the image made a link, which a runtime might follow out of the root. An overlay without an upper directory needs two
/// lower ones at least, so the skeleton also lets an image have one layer.</remarks>
internal static unsafe class RootFileSystem
{
    /// <summary>Mounts the root at <c>NAME</c> in the workspace. The working directory must be the store's.</summary>
    /// <returns>The root's path.</returns>
    public static string Mount(Workspace workspace, string name, IReadOnlyList<string> layers, Skeleton skeleton)
    {
        var lowers = new List<string>(layers.Count + 2) { skeleton.Make(workspace) };
        lowers.AddRange(layers);
        if (skeleton.MakeBottom(workspace) is { } bottom)
            lowers.Add(bottom);

        string target = workspace.NewDirectory(name);
        if (!TryMountByParts(lowers, target))
            MountByOptions(workspace, lowers, target);
        return target;
    }

    /// <summary>One call a lower directory (Linux 6.7): their number is bounded by the kernel's 500 only.</summary>
    /// <returns>Whether the kernel can do so.</returns>
    private static bool TryMountByParts(List<string> lowers, string target)
    {
        int fs = FsOpen("overlay");
        if (fs < 0)
            return Libc.Errno == Libc.ENOSYS ? false : throw SparkException.FromErrno("cannot use overlayfs");
        try
        {
            foreach (string lower in lowers)
            {
                if (Configure(fs, Libc.FSCONFIG_SET_STRING, "lowerdir+", lower) == 0)
                    continue;
                if (Libc.Errno == Libc.EINVAL && lower == lowers[0])
                    return false;
                throw Refused(fs, $"cannot use '{lower}' as a layer of the root");
            }

            // Without userxattr overlayfs reads marks that only the machine's root may write, and fails on deleted directories.
            if (Configure(fs, Libc.FSCONFIG_SET_FLAG, "userxattr", null) != 0 || Configure(fs, Libc.FSCONFIG_SET_FLAG, "ro", null) != 0
                || Libc.syscall(Libc.SYS_fsconfig, fs, Libc.FSCONFIG_CMD_CREATE) != 0)
                throw Refused(fs, $"cannot mount {lowers.Count} layers with overlayfs");
            int mount = (int)Libc.syscall(
                Libc.SYS_fsmount, fs, Libc.FSMOUNT_CLOEXEC, Libc.MOUNT_ATTR_RDONLY | Libc.MOUNT_ATTR_NOSUID | Libc.MOUNT_ATTR_NODEV);
            if (mount < 0)
                throw Refused(fs, $"cannot mount {lowers.Count} layers with overlayfs");
            Attach(mount, target);
            Libc.close(mount);
            return true;
        }
        finally
        {
            Libc.close(fs);
        }
    }

    /// <summary>All lower directories in one option string, which the kernel cuts off after a page without a word; so each gets a name of a few characters.</summary>
    private static void MountByOptions(Workspace workspace, List<string> lowers, string target)
    {
        string links = workspace.NewDirectory("l");
        for (int i = 0; i < lowers.Count; i++)
        {
            int fd = Libc.open(lowers[i], Libc.O_PATH | Libc.O_CLOEXEC, 0);
            if (fd < 0 || Libc.symlink($"/proc/self/fd/{fd}", $"{links}/{i}") != 0)
                throw SparkException.FromErrno($"cannot use '{lowers[i]}' as a layer of the root");
        }

        string options = "ro,userxattr,lowerdir=" + string.Join(':', Enumerable.Range(0, lowers.Count));
        if (options.Length > 4000)
            throw new SparkException(SparkFailureKind.Image, $"cannot mount {lowers.Count} layers: more than this kernel takes");
        if (Libc.chdir(links) != 0 || Libc.mount("xfn", target, "overlay", Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV, options) != 0)
            throw SparkException.FromErrno($"cannot mount {lowers.Count} layers with overlayfs");
    }

    private static int FsOpen(string type)
    {
        fixed (byte* name = Utf8(type))
            return (int)Libc.syscall(Libc.SYS_fsopen, (nint)name, Libc.FSOPEN_CLOEXEC);
    }

    private static int Configure(int fs, int command, string key, string? value)
    {
        fixed (byte* k = Utf8(key))
        fixed (byte* v = value is null ? null : Utf8(value))
            return (int)Libc.syscall(Libc.SYS_fsconfig, fs, command, (nint)k, (nint)v);
    }

    private static void Attach(int mount, string target)
    {
        fixed (byte* empty = Utf8(""))
        fixed (byte* path = Utf8(target))
        {
            if (Libc.syscall(Libc.SYS_move_mount, mount, (nint)empty, Libc.AT_FDCWD, (nint)path, Libc.MOVE_MOUNT_F_EMPTY_PATH) != 0)
                throw SparkException.FromErrno($"cannot attach the root at '{target}'");
        }
    }

    /// <summary>The error, with the last thing that the file system itself had to say: it keeps its messages for whoever reads its descriptor.</summary>
    private static SparkException Refused(int fs, string tried)
    {
        int errno = Libc.Errno;
        byte* buffer = stackalloc byte[512];
        string said = "";
        while (Libc.read(fs, buffer, 512) is > 2 and var count)
            said = $" ({System.Text.Encoding.UTF8.GetString(buffer + 2, (int)count - 2).TrimEnd()})";
        return SparkException.FromErrno(tried + said, errno);
    }

    private static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text + '\0');
}
