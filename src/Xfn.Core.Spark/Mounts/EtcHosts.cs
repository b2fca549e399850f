using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Mounts;

/// <summary>A container's <c>/etc/hosts</c> as spark made it, on its own tmpfs. No path of the container's is followed.
/// </summary>
internal static class EtcHosts
{
    private const string Name = "etc/hosts";

    // The kernel reads no name that is longer, and a container is linked to few others.
    private const int MaxLineBytes = 1024, MaxBytes = 1 << 20;

    /// <summary>The file's path; null where the container has none that was made for it.</summary>
    /// <param name="scratch">Where it was made.</param>
    /// <param name="run">The container.</param>
    /// <param name="bound">The files that are mounted one by one.</param>
    public static string? Find(ScratchTmpfs scratch, SparkRun run, IReadOnlyList<SparkRootFile> bound) =>
        RootFiles.PathOf(scratch, bound, Name) is { } path ? path
        : run.FlattenedDirectory.Length == 0 && run.Root.Files.Any(file => file.Path == Name && !file.IsLink) ? MountPointTree.PathOf(scratch, Name)
        : null;

    /// <summary>Appends a line.</summary>
    /// <param name="path">The file's path.</param>
    /// <param name="line">The line, without its end.</param>
    public static void Append(string? path, string line)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(line + '\n');
        if (bytes.Length > MaxLineBytes || line.AsSpan().ContainsAny("\n\r\0"))
            throw new SparkException(SparkFailureKind.Environment, $"cannot add a line of {bytes.Length} bytes to /etc/hosts: it has one line, of at most {MaxLineBytes} bytes");
        if (path is null)
            throw new SparkException(SparkFailureKind.Environment, "cannot add a line to /etc/hosts: the container's is not made by xfn");

        // Where the container may write to it, what it has there is its own affair; a link it cannot be.
        int fd = Libc.open(path, Libc.O_WRONLY | Libc.O_APPEND | Processor.O_NOFOLLOW | Libc.O_CLOEXEC);
        if (fd < 0)
            throw SparkException.FromErrno("cannot open the container's /etc/hosts");
        using var file = new SafeFileHandle(fd, ownsHandle: true);
        if (RandomAccess.GetLength(file) > MaxBytes)
            throw new SparkException(SparkFailureKind.Limit, $"cannot add a line to /etc/hosts: it has more than {MaxBytes} bytes");
        RandomAccess.Write(file, bytes, RandomAccess.GetLength(file));
    }
}
