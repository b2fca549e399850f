using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>A container's mounts. Its first process makes them, by the rules of <see cref="ContainerInit"/>.</summary>
/// <remarks>Each path is opened inside the root, and mounted on by its descriptor: no link leads out.</remarks>
internal static unsafe class ContainerMounts
{
    private const int PathBytes = 32;

    public static bool Make(ContainerPlan* plan)
    {
        int root = VforkLibc.openat(Libc.AT_FDCWD, plan->Root, Libc.O_PATH | Libc.O_CLOEXEC, 0);
        if (!ContainerInit.Check(plan, ContainerStage.Root, plan->Root, root))
            return false;
        for (int i = 0; i < plan->MountCount; i++)
        {
            if (!Mount(plan, root, plan->Mounts + i))
                return false;
        }

        if (!MakeDevices(plan, root))
            return false;
        for (int i = 0; i < plan->MountCount; i++)
        {
            if (plan->Mounts[i].IsReadOnlyInTheEnd && !SetFlags(plan, ContainerStage.Mount, root, plan->Mounts[i].Destination, Libc.MS_RDONLY, recursively: false))
                return false;
        }

        int empty = -1;
        for (byte** path = plan->Masked; *path is not null; path++)
        {
            if (!Mask(plan, root, *path, ref empty))
                return false;
        }

        for (byte** path = plan->ReadOnly; *path is not null; path++)
        {
            if (!MakeReadOnly(plan, root, *path))
                return false;
        }

        // Below what was mounted only this can make it. Where it cannot, entering it will tell.
        int directory = Open(root, plan->WorkingDirectory);
        if (directory < 0 && VforkLibc.Error == Libc.ENOENT)
            directory = MakeMountPoint(root, plan->WorkingDirectory, isFile: false);
        _ = VforkLibc.close(directory);
        return Pivot(plan, root);
    }

    private static bool Mount(ContainerPlan* plan, int root, MountStep* mount)
    {
        byte* destination = mount->Destination;
        int target = Open(root, destination);
        if (target < 0 && VforkLibc.Error == Libc.ENOENT)
            target = MakeMountPoint(root, destination, mount->IsFile);
        if (!ContainerInit.Check(plan, ContainerStage.MountPoint, destination, target))
            return false;
        byte* path = stackalloc byte[PathBytes];
        bool done;
        if (mount->Type is not null)
        {
            done = ContainerInit.Check(plan, ContainerStage.Mount, destination, VforkLibc.mount(mount->Source, Name(path, target), mount->Type, mount->Flags, mount->Data));
        }
        else
        {
            const nuint atOnce = Libc.MS_BIND | Libc.MS_REC;
            done = ContainerInit.Check(plan, ContainerStage.Mount, destination, VforkLibc.mount(mount->Source, Name(path, target), null, mount->Flags & atOnce, null))
                && SetFlags(plan, ContainerStage.Mount, root, destination, mount->Flags & ~atOnce, (mount->Flags & Libc.MS_REC) != 0);
        }

        _ = VforkLibc.close(target);
        return done;
    }

    /// <summary>The flags of a bind mount take a call of their own. One that is to be read-only is so with all that is
    /// mounted below it, if asked.</summary>
    private static bool SetFlags(ContainerPlan* plan, ContainerStage stage, int root, byte* destination, nuint flags, bool recursively)
    {
        // What was mounted there is opened now, and has what its source has.
        int mounted = Open(root, destination);
        bool done = ContainerInit.Check(plan, stage, destination, mounted);
        bool isSet = false;
        if (done && (flags == Libc.MS_RDONLY || recursively && (flags & Libc.MS_RDONLY) != 0))
        {
            // Nothing but read-only: a container engine hides files of /proc by /dev/null, which must stay a device.
            // Before Linux 5.12 there is no such call, and what is mounted below keeps its own flags.
            var attributes = new Libc.MountAttributes { Set = (ulong)Libc.MOUNT_ATTR_RDONLY };
            byte none = 0;
            int where = Libc.AT_EMPTY_PATH | (recursively ? Libc.AT_RECURSIVE : 0);
            isSet = VforkLibc.syscall(Libc.SYS_mount_setattr, mounted, (nint)(&none), where, (nint)(&attributes), sizeof(Libc.MountAttributes)) == 0;
            done = isSet || VforkLibc.Error == Libc.ENOSYS || ContainerInit.Check(plan, stage, destination, -1);
        }

        if (done && !(isSet && flags == Libc.MS_RDONLY))
        {
            // What the machine's owner set may not be taken away here.
            const nuint locked = Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC;
            Libc.FileSystemStatus status;
            byte* path = stackalloc byte[PathBytes];
            done = ContainerInit.Check(plan, stage, destination, VforkLibc.fstatfs(mounted, &status))
                && ContainerInit.Check(plan, stage, destination,
                    VforkLibc.mount(null, Name(path, mounted), null, Libc.MS_REMOUNT | Libc.MS_BIND | flags | (status.Flags & locked), null));
        }

        _ = VforkLibc.close(mounted);
        return done;
    }

    /// <summary>Binds the machine's devices into /dev (a user namespace can make none), and makes its links.</summary>
    private static bool MakeDevices(ContainerPlan* plan, int root)
    {
        byte* source = stackalloc byte[PathBytes];
        byte* path = stackalloc byte[PathBytes];
        fixed (byte* dev = "/dev"u8)
        {
            int directory = Open(root, dev);
            if (!ContainerInit.Check(plan, ContainerStage.Device, dev, directory))
                return false;
            for (byte** device = plan->Devices; *device is not null; device++)
            {
                int file = VforkLibc.openat(directory, *device, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, 0b110_110_110);
                Join(source, dev, *device);
                if (!ContainerInit.Check(plan, ContainerStage.Device, *device, file)
                    || !ContainerInit.Check(plan, ContainerStage.Device, *device, VforkLibc.mount(source, Name(path, file), null, Libc.MS_BIND, null)))
                    return false;
                _ = VforkLibc.close(file);
            }

            for (byte** link = plan->Links; *link is not null; link += 2)
            {
                if (VforkLibc.symlinkat(link[1], directory, link[0]) < 0 && VforkLibc.Error != Libc.EEXIST && !ContainerInit.Check(plan, ContainerStage.Device, *link, -1))
                    return false;
            }

            _ = VforkLibc.close(directory);
            return true;
        }
    }

    /// <summary>Covers a directory with an empty one, all else with /dev/null. Skips what cannot be seen.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="root">The root.</param>
    /// <param name="masked">The path.</param>
    /// <param name="empty">The empty directory, which is made once; -1 before.</param>
    private static bool Mask(ContainerPlan* plan, int root, byte* masked, ref int empty)
    {
        int target = Open(root, masked, Processor.O_DIRECTORY);
        bool isDirectory = target >= 0;
        if (!isDirectory && VforkLibc.Error == Libc.ENOTDIR)
            target = Open(root, masked);
        if (target < 0 && IsNotThere(VforkLibc.Error))
            return true;
        if (!ContainerInit.Check(plan, ContainerStage.Mask, masked, target))
            return false;
        byte* path = stackalloc byte[PathBytes];
        byte* source = stackalloc byte[PathBytes];
        fixed (byte* tmpfs = "tmpfs"u8, small = "size=4k,nr_inodes=2,mode=755"u8, nothing = "/dev/null"u8)
        {
            int result = !isDirectory ? VforkLibc.mount(nothing, Name(path, target), null, Libc.MS_BIND, null)
                : empty >= 0 ? VforkLibc.mount(Name(source, empty), Name(path, target), null, Libc.MS_BIND, null)
                : VforkLibc.mount(tmpfs, Name(path, target), tmpfs, Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC, small);
            if (!ContainerInit.Check(plan, ContainerStage.Mask, masked, result))
                return false;
            _ = VforkLibc.close(target);
            if (isDirectory && empty < 0)
                empty = Open(root, masked);
            return true;
        }
    }

    private static bool IsNotThere(int error) => error is Libc.ENOENT or Libc.ENOTDIR or Libc.EACCES;

    private static bool MakeReadOnly(ContainerPlan* plan, int root, byte* readOnly)
    {
        int target = Open(root, readOnly);
        if (target < 0 && IsNotThere(VforkLibc.Error))
            return true;
        byte* path = stackalloc byte[PathBytes];
        bool done = ContainerInit.Check(plan, ContainerStage.ReadOnly, readOnly, target)
            && ContainerInit.Check(plan, ContainerStage.ReadOnly, readOnly, VforkLibc.mount(Name(path, target), path, null, Libc.MS_BIND | Libc.MS_REC, null))
            && SetFlags(plan, ContainerStage.ReadOnly, root, readOnly, Libc.MS_RDONLY, recursively: true);
        _ = VforkLibc.close(target);
        return done;
    }

    /// <summary>Makes the root this namespace's, and lets go of the machine's.</summary>
    private static bool Pivot(ContainerPlan* plan, int root)
    {
        const int detach = 2;
        fixed (byte* here = "."u8, top = "/"u8)
        {
            // The old root is stacked upon the new one, and what is stacked is what a path finds.
            return ContainerInit.Check(plan, ContainerStage.Pivot, null, VforkLibc.fchdir(root))
                && ContainerInit.Check(plan, ContainerStage.Pivot, null, VforkLibc.syscall(Processor.SYS_pivot_root, (nint)here, (nint)here))
                && ContainerInit.Check(plan, ContainerStage.Pivot, null, VforkLibc.umount2(here, detach))
                && ContainerInit.Check(plan, ContainerStage.Pivot, null, VforkLibc.chdir(top));
        }
    }

    /// <summary>Opens a path as a program in the root would: links are followed, but never out of it.</summary>
    private static int Open(int root, byte* path, int flags = 0)
    {
        var how = new Libc.OpenHow { Flags = (ulong)(Libc.O_PATH | Libc.O_CLOEXEC | flags), Resolve = Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS };
        return (int)VforkLibc.openat2(root, path, &how);
    }

    /// <summary>Makes what a path lacks, name by name, each found as above.</summary>
    private static int MakeMountPoint(int root, byte* path, bool isFile)
    {
        byte* end = path;
        while (*end != 0)
            end++;
        fixed (byte* top = "/"u8)
        {
            // It is looked for from its end: as a rule only the last name is missing.
            int parent;
            do
            {
                while (*--end != (byte)'/')
                {
                }

                *end = 0;
                parent = Open(root, end == path ? top : path);
                *end = (byte)'/';
            }
            while (parent < 0 && VforkLibc.Error == Libc.ENOENT && end > path);

            while (parent >= 0 && *end != 0)
            {
                byte* name = ++end;
                while (*end is not (0 or (byte)'/'))
                    end++;
                if (end == name)
                    continue;
                byte separator = *end;
                *end = 0;
                int result = isFile && separator == 0
                    ? VforkLibc.openat(parent, name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, 0b110_100_100)
                    : VforkLibc.mkdirat(parent, name, 0b111_101_101);
                int made = result < 0 && VforkLibc.Error != Libc.EEXIST ? result : Open(root, path);
                if (result > 0)
                    _ = VforkLibc.close(result);
                *end = separator;
                int error = VforkLibc.Error;
                _ = VforkLibc.close(parent);
                VforkLibc.Error = error;
                parent = made;
            }

            return parent;
        }
    }

    /// <summary>What leads to a descriptor.</summary>
    private static byte* Name(byte* path, int fd)
    {
        "/proc/self/fd/"u8.CopyTo(new Span<byte>(path, PathBytes));
        int digits = 1;
        for (int rest = fd; rest >= 10; rest /= 10)
            digits++;
        byte* end = path + "/proc/self/fd/"u8.Length + digits;
        for (*end = 0; digits > 0; digits--, fd /= 10)
            *--end = (byte)('0' + fd % 10);
        return path;
    }

    private static void Join(byte* path, byte* directory, byte* name)
    {
        while (*directory != 0)
            *path++ = *directory++;
        *path++ = (byte)'/';
        do
            *path++ = *name;
        while (*name++ != 0);
    }
}
