using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Mounts;

/// <summary>A tmpfs for all that one run needs besides the image; it goes with the spark's mount namespace.</summary>
internal sealed class ScratchTmpfs
{
    private const string Options = "mode=0755,size=64m,nr_inodes=16k";

    /// <summary>Directories that about every distribution has and that the mapped root may walk to. The first that does
    /// not hide the runtime is mounted over.</summary>
    private static readonly string[] Places = ["/run", "/tmp", "/mnt", "/media", "/srv", "/var/tmp", "/home"];

    private readonly string _root;

    private ScratchTmpfs(string root) => _root = root;

    /// <summary>Mounts it.</summary>
    /// <param name="runtime">The OCI runtime, which must stay visible; empty when none is used.</param>
    public static ScratchTmpfs Mount(string runtime = "")
    {
        string root = Array.Find(Places, place => Directory.Exists(place) && !runtime.StartsWith(place + "/", StringComparison.Ordinal))
            ?? throw new SparkException(SparkFailureKind.Environment, $"cannot mount a scratch file system: none of {string.Join(", ", Places)} is a directory");
        if (Libc.mount("xfn", root, "tmpfs", Libc.MS_NOSUID | Libc.MS_NODEV, Options) != 0)
            throw SparkException.FromErrno($"cannot mount a tmpfs at {root}");
        return new ScratchTmpfs(root);
    }

    /// <summary>The path of a name in it.</summary>
    public string this[string name] => $"{_root}/{name}";

    /// <summary>Makes a directory.</summary>
    /// <returns>Its path.</returns>
    public string NewDirectory(string name, uint mode = 0b111_101_101) => MakeDirectory(this[name], mode);

    /// <summary>Mounts a tmpfs of its own size in it.</summary>
    /// <returns>Its path.</returns>
    public string MountWritable(string name, long bytes)
    {
        string path = NewDirectory(name);
        if (Libc.mount("xfn", path, "tmpfs", Libc.MS_NOSUID | Libc.MS_NODEV, $"mode=0755,size={bytes}") != 0)
            throw SparkException.FromErrno($"cannot mount a tmpfs of {bytes} bytes to write to");
        return path;
    }

    public static string MakeDirectory(string path, uint mode = 0b111_101_101)
    {
        if (Libc.mkdirat(Libc.AT_FDCWD, path, mode) != 0 && Libc.Errno != Libc.EEXIST)
            throw SparkException.FromErrno($"cannot make directory '{path}'");
        return path;
    }

    /// <summary>Writes a file: what the image has in its place, and what is to come behind it.</summary>
    public static void WriteFile(string path, ReadOnlySpan<byte> image, ReadOnlySpan<byte> content)
    {
        int fd = Libc.open(path, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_CLOEXEC, 0b110_100_100);
        if (fd < 0)
            throw SparkException.FromErrno($"cannot make '{path}'");
        using var file = new Microsoft.Win32.SafeHandles.SafeFileHandle(fd, ownsHandle: true);
        long offset = image.Length;
        RandomAccess.Write(file, image, 0);
        if (offset > 0 && image[^1] != '\n')
            RandomAccess.Write(file, "\n"u8, offset++);
        RandomAccess.Write(file, content, offset);
    }
}
