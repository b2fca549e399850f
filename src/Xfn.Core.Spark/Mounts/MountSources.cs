using System.Runtime.CompilerServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Mounts;

/// <summary>What a run mounts of the machine, or as bytes: opened while this process has the rights of the runner's
/// user, and bound where the container's first process finds it.</summary>
internal sealed class MountSources
{
    /// <summary>Beside the root, so that a runtime finds it from its bundle.</summary>
    private const string Name = "sources";
    private const string VolumeName = "fs";

    private readonly List<int> _opened = [];
    private readonly IReadOnlyList<SparkPath> _paths;
    private readonly SparkException? _obstacle;

    // Not inlined: what it calls is looked up once for each place that it is in.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private MountSources(IReadOnlyList<SparkPath> paths)
    {
        _paths = paths;
        try
        {
            foreach (SparkPath path in paths)
                _opened.Add(Open(path));
        }
        catch (SparkException ex)
        {
            _obstacle = ex;
        }
    }

    /// <summary>Opens files and directories. What is wrong with one is the run's to say.</summary>
    public static MountSources Of(IReadOnlyList<SparkPath> paths) => new(paths);

    /// <summary>Makes what a run's bind mounts bind.</summary>
    /// <exception cref="SparkException">One could not be opened, or cannot be mounted.</exception>
    public void Make(ScratchTmpfs scratch, IReadOnlyList<SparkSource> sources)
    {
        if (_obstacle is not null)
            throw _obstacle;
        if (sources.Count == 0)
            return;
        string directory = scratch.NewDirectory(Name);
        foreach ((int i, SparkSource source) in sources.Index())
        {
            string target = $"{directory}/{i}";
            if (source.Path < 0)
                WriteFile(target, source);
            else
                Bind(source, target);
        }

        // They would stay open as long as the container lives.
        _opened.ForEach(fd => _ = Libc.close(fd));
    }

    private static int Open(SparkPath path)
    {
        int fd = Libc.open(path.Path, Libc.O_PATH | Libc.O_CLOEXEC);
        if (fd < 0)
            throw SparkException.FromErrno($"cannot open '{path.Path}' to mount it");
        if (Libc.Status(fd, out Libc.FileStatus status) != 0)
            throw SparkException.FromErrno($"cannot look at '{path.Path}' to mount it");

        // Links, and who may change a directory on the way, can lead elsewhere by now.
        return ((ulong)status.DeviceMajor << 32 | status.DeviceMinor, status.Inode) == (path.Device, path.Inode)
            ? fd
            : throw new SparkException(SparkFailureKind.Environment, $"cannot mount '{path.Path}': another file has taken its place since it was looked at");
    }

    private static void WriteFile(string path, SparkSource source)
    {
        ScratchTmpfs.WriteFile(path, [], source.Content.Span);
        using Descriptor file = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC);
        if (file < 0)
            throw SparkException.FromErrno($"cannot open '{path}'");
        Directories.SetModeAndOwner(file, source.Mode, source.Uid, source.Gid);
    }

    private void Bind(SparkSource source, string target)
    {
        (string path, int from) = (_paths[source.Path].Path, _opened[source.Path]);
        if (Libc.Status(from, out Libc.FileStatus status) != 0)
            throw SparkException.FromErrno($"cannot look at '{path}' to mount it");
        if (status.Type == Libc.S_IFDIR)
            ScratchTmpfs.MakeDirectory(target);
        else
            ScratchTmpfs.WriteFile(target, [], []);
        if (Libc.mount($"/proc/self/fd/{from}", target, null, Libc.MS_BIND, null) != 0)
        {
            // What is mounted over in a namespace that has more rights stays covered in this one.
            throw Libc.Errno == Libc.EINVAL
                ? SparkException.FromErrno($"cannot mount '{path}' without what is mounted below it", Libc.EINVAL, SparkFailureKind.CoveredMount)
                : SparkException.FromErrno($"cannot mount '{path}'");
        }

        if (source.IsWritable)
            MakeWritable(path, target);
        if (!source.IsVolume)
            return;
        using Descriptor volume = Directories.Open(ScratchTmpfs.MakeDirectory($"{target}/{VolumeName}"));
        Directories.SetModeAndOwner(volume, source.Mode, source.Uid, source.Gid);
    }

    /// <summary>Takes back, for this mount alone, that the machine's are read-only to a settled spark.</summary>
    private static void MakeWritable(string path, string target)
    {
        // What the machine's owner set may not be taken away here.
        const nuint locked = Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC;
        if (Libc.statfs(target, out Libc.FileSystemStatus status) != 0)
            throw SparkException.FromErrno($"cannot look at the mount of '{path}'");
        if (Libc.mount("xfn", target, null, Libc.MS_REMOUNT | Libc.MS_BIND | Libc.MS_NOSUID | Libc.MS_NODEV | status.Flags & locked, null) != 0)
            throw SparkException.FromErrno($"cannot mount '{path}' writable, perhaps the machine has it mounted read-only");
    }
}
