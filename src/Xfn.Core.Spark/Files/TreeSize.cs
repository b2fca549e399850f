using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Files;

/// <summary>Counts what is in a tree of our own, in which nobody else writes.</summary>
internal static unsafe class TreeSize
{
    private const int BlockBytes = 512;

    public static SparkFlattened Measure(int rootFd)
    {
        long entries = 0, blocks = 0;
        var listing = new DirectoryListing();
        var linked = new HashSet<ulong>();
        var todo = new Stack<byte[]>();
        todo.Push([]);
        while (todo.TryPop(out byte[]? path))
        {
            int directory = Open(rootFd, path);
            try
            {
                while (listing.Read(directory))
                {
                    while (listing.TryTake(out ReadOnlySpan<byte> terminated))
                    {
                        Libc.FileStatus status;
                        fixed (byte* name = terminated)
                        {
                            if (Libc.Status(directory, name, out status) != 0)
                                throw SparkException.FromErrno("cannot measure a tree");
                        }

                        entries++;
                        if (status.Type == Libc.S_IFDIR)
                            todo.Push(path.Length == 0 ? terminated[..^1].ToArray() : [.. path, (byte)'/', .. terminated[..^1]]);
                        else if (status.Links > 1 && !linked.Add(status.Inode))
                            continue;
                        blocks += (long)status.Blocks;
                    }
                }
            }
            finally
            {
                _ = Libc.close(directory);
            }
        }

        return new SparkFlattened(entries, blocks * BlockBytes);
    }

    private static int Open(int rootFd, byte[] path)
    {
        int found = ConfinedPath.Open(rootFd, path);
        if (found < 0)
            throw SparkException.FromErrno("cannot measure a tree", -found);
        int fd;
        fixed (byte* self = ".\0"u8)
            fd = Libc.openat(found, self, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0);
        _ = Libc.close(found);
        return fd >= 0 ? fd : throw SparkException.FromErrno("cannot measure a tree");
    }
}
