using Microsoft.Win32.SafeHandles;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark;

/// <summary>Reads files of an image as a program in its root would see them: links are followed, but never out of the root.</summary>
internal static unsafe class FileReader
{
    public static SparkFiles Read(SparkReadFiles request)
    {
        if (Libc.chdir(request.StoreDirectory) != 0)
            throw SparkException.FromErrno($"cannot enter '{request.StoreDirectory}'");
        Identity.BecomeRoot();
        string root = RootFileSystem.Mount(Workspace.Mount(null, outerProc: true), "rootfs", request.LowerDirectories, new Skeleton());
        int rootFd = Libc.open(root, Libc.O_PATH | Libc.O_CLOEXEC, 0);
        if (rootFd < 0)
            throw SparkException.FromErrno("cannot open the image's root");
        return new SparkFiles([.. request.Paths.Select(path => Read(rootFd, path, request.MaxBytes))]);
    }

    private static ReadOnlyMemory<byte> Read(int rootFd, string path, int maxBytes)
    {
        // Not blocking: a pipe in a regular file's place must not hold us up.
        var how = new Libc.OpenHow
        {
            Flags = Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_CLOEXEC,
            Resolve = Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS,
        };
        int fd;
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
            fd = (int)Libc.syscall(Libc.SYS_openat2, rootFd, (nint)name, (nint)(&how), sizeof(Libc.OpenHow));
        if (fd < 0)
            return Libc.Errno == Libc.ENOENT ? default : throw new SparkException(SparkFailureKind.Image, $"cannot open '{path}' in the image: {Libc.Describe(Libc.Errno)}", Libc.Errno);

        using var file = new SafeFileHandle(fd, ownsHandle: true);
        if (!Libc.IsRegularFile(fd))
            throw new SparkException(SparkFailureKind.Image, $"cannot read '{path}' in the image: it is no regular file");
        long length = RandomAccess.GetLength(file);
        if (length > maxBytes)
            throw new SparkException(SparkFailureKind.Image, $"cannot read '{path}' in the image: it has {length} bytes, at most {maxBytes} are allowed");
        var content = new byte[length];
        return content.AsMemory(0, RandomAccess.Read(file, content, 0));
    }
}
