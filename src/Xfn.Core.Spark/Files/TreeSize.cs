using Xfn.Core.Interop;
using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Files;

/// <summary>Counts what is in a tree of our own, in which nobody else writes.</summary>
internal static class TreeSize
{
    public static SparkFlattened Measure(int rootFd)
    {
        long entries = 0, bytes = 0;
        var listing = new DirectoryListing();
        var linked = new HashSet<ulong>();
        var todo = new Stack<byte[]>();
        todo.Push([]);
        while (todo.TryPop(out byte[]? path))
        {
            using Descriptor directory = Directories.OpenBelow(rootFd, path);
            while (listing.TryTake(directory, out ReadOnlySpan<byte> terminated))
            {
                if (Libc.Status(directory, terminated, out Libc.FileStatus status) != 0)
                    throw SparkException.FromErrno("cannot measure a tree");
                entries++;
                if (status.Type == Libc.S_IFDIR)
                    todo.Push(Directories.Join(path, terminated[..^1]));
                else if (status.Links > 1 && !linked.Add(status.Inode))
                    continue;
                bytes += status.DiskBytes;
            }
        }

        return new SparkFlattened(entries, bytes);
    }
}
