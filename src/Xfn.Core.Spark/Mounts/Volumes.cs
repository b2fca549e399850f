using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Mounts;

/// <summary>Makes directories of a read-only root writable, each with what the image has in it.</summary>
/// <remarks>https://github.com/opencontainers/image-spec/blob/v1.1.1/conversion.md#configvolumes</remarks>
internal static class Volumes
{
    private const string Name = "volumes";

    /// <summary>Mounts volumes over their directories in the root.</summary>
    /// <param name="scratch">Where to make what is needed besides.</param>
    /// <param name="root">The root's path.</param>
    /// <param name="volumes">Relative to the root.</param>
    /// <param name="bytes">How much may be written in all of them together.</param>
    public static void Mount(ScratchTmpfs scratch, string root, IReadOnlyList<string> volumes, long bytes)
    {
        string writable = scratch.MountWritable(Name, bytes);
        using Descriptor rootFd = Directories.Open(root);

        // One that lies in another comes behind it: it is mounted in that one's copy.
        foreach ((int i, string volume) in volumes.Order(StringComparer.Ordinal).Index())
            MountOne(scratch, rootFd, volume, $"{writable}/{i}", $"{Name}.{i}", bytes);
    }

    private static void MountOne(ScratchTmpfs scratch, int rootFd, string volume, string own, string links, long bytes)
    {
        using Descriptor found = Find(rootFd, volume);
        string target = $"/proc/self/fd/{(int)found}";
        using Descriptor from = Libc.open(target, Libc.O_RDONLY | Processor.O_DIRECTORY | Libc.O_CLOEXEC);
        if (from < 0)
            throw SparkException.FromErrno($"cannot make volume '/{volume}' writable", Libc.Errno, SparkFailureKind.Image);
        ScratchTmpfs.MakeDirectory(own);
        using Descriptor files = Directories.Open(ScratchTmpfs.MakeDirectory($"{own}/files"));
        Directories.CopyModeAndOwner(from, files);
        try
        {
            RootFileSystem.MountOverlay(scratch, links, [target], own, target);
        }
        catch (SparkException ex) when (ex.Failure.Kind == SparkFailureKind.NoOverlay)
        {
            // Before Linux 5.11, or upon two overlays already, which is as many as the kernel stacks.
            Copy(from, files, volume, bytes);
            if (Libc.mount($"{own}/files", target, null, Libc.MS_BIND, null) != 0)
                throw SparkException.FromErrno($"cannot mount volume '/{volume}'");
        }
    }

    private static int Find(int rootFd, string volume)
    {
        int found = RootFiles.Open(rootFd, volume);
        if (found != -Libc.ENOENT || RootFiles.Resolve(rootFd, volume) is not { } path)
            return found >= 0 ? found : throw SparkException.FromErrno($"cannot make volume '/{volume}' writable", -found, SparkFailureKind.Image);

        // It was made where its links lead, unless it would not be seen there.
        found = RootFiles.Open(rootFd, path);
        return found >= 0 ? found : throw new SparkException(
            SparkFailureKind.Image,
            $"cannot make volume '/{volume}' writable: links of the image lead to '/{path}', where another file system is mounted. Declare '/{path}' itself as a volume",
            -found);
    }

    private static void Copy(int from, int to, string volume, long bytes)
    {
        try
        {
            LayerFlattener.Flatten([from], to);
        }
        catch (SparkException ex) when (ex.Failure.Errno is Libc.ENOSPC)
        {
            throw new SparkException(
                SparkFailureKind.Image,
                $"cannot copy what it has in volume '/{volume}': that is more than {bytes} bytes. Raise the limit (option Bundle:VolumeBytes)",
                ex.Failure.Errno);
        }
    }
}
