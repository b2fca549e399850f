using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Layers;

/// <summary>Finds files as an overlay shows them, without one: faster for a few, and some kernels mount none.</summary>
/// <remarks>Opens each name by itself in a layer's directory, the uppermost layer first, and follows links by their
/// text: none leads out.</remarks>
internal sealed class MergedLookup(IReadOnlyList<int> layerFds)
{
    private const int MaxLinks = 40;

    /// <summary>Whether the layers show a directory at a path that has no links.</summary>
    public bool HasDirectory(string path)
    {
        using Descriptor found = Open(path, maxLinks: 0);
        return found == -Libc.EISDIR;
    }

    /// <summary>Opens a file for reading.</summary>
    /// <returns>The descriptor, or the negative error number.</returns>
    public int Open(string path, int maxLinks = MaxLinks)
    {
        // A directory is one in each layer that has it. Those on the way are kept, for the way back up.
        var way = new Stack<List<int>>();
        var todo = new Stack<string>(Components(path));
        int links = 0;
        try
        {
            while (todo.TryPop(out string? name))
            {
                if (name == "..")
                {
                    Leave(way);
                    continue;
                }

                byte[] terminated = Encoding.UTF8.GetBytes(name + '\0');
                IReadOnlyList<int> directories = way.Count > 0 ? way.Peek() : layerFds;
                int found = Find(directories, terminated, out Libc.FileStatus status);
                if (found < 0)
                    return -Libc.ENOENT;
                if (status.Type == Libc.S_IFLNK)
                {
                    if (++links > maxLinks)
                        return -Libc.ELOOP;
                    string target = ReadLink(directories[found], terminated);
                    if (target.StartsWith('/'))
                        LeaveAll(way);
                    foreach (string component in Components(target))
                        todo.Push(component);
                }
                else if (status.Type == Libc.S_IFDIR)
                {
                    way.Push(OpenDirectories(directories.Skip(found), terminated));
                }
                else
                {
                    return todo.Count > 0 ? -Libc.ENOTDIR : OpenFile(directories[found], terminated);
                }
            }

            return -Libc.EISDIR;
        }
        finally
        {
            LeaveAll(way);
        }
    }

    private static IEnumerable<string> Components(string path) => path.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(c => c != ".").Reverse();

    /// <returns>The index of the uppermost directory that has a name; -1 when none has, or it was deleted.</returns>
    private static int Find(IReadOnlyList<int> directories, byte[] terminated, out Libc.FileStatus status)
    {
        status = default;
        for (int i = 0; i < directories.Count; i++)
        {
            if (Libc.Status(directories[i], terminated, out status) == 0)
                return status.IsWhiteout ? -1 : i;
            if (Libc.Errno is not (Libc.ENOENT or Libc.ENAMETOOLONG))
                throw SparkException.FromErrno("cannot look at a file of a layer");
        }

        return -1;
    }

    /// <summary>Opens a directory in all layers that have it, down to the first that hides what lies below.</summary>
    private static List<int> OpenDirectories(IEnumerable<int> parents, byte[] terminated)
    {
        var directories = new List<int>();
        foreach (int parent in parents)
        {
            int fd = Libc.OpenDirectory(parent, terminated);
            if (fd < 0 && Libc.Errno == Libc.ENOENT)
                continue;
            if (fd < 0 && Libc.Errno is (Libc.ENOTDIR or Libc.ELOOP))
                break; // Something else stands there: a whiteout, a file, a link.
            directories.Add(fd >= 0 ? fd : throw SparkException.FromErrno("cannot open a directory of a layer"));
            if (Directories.IsOpaque(fd))
                break;
        }

        return directories;
    }

    private static string ReadLink(int directory, byte[] terminated)
    {
        Span<byte> target = stackalloc byte[4096];
        nint length = Libc.readlinkat(directory, terminated, target, (nuint)target.Length);
        return length > 0 ? Encoding.UTF8.GetString(target[..(int)length]) : throw SparkException.FromErrno("cannot read a link");
    }

    private static int OpenFile(int directory, byte[] terminated)
    {
        // Not blocking: a pipe in a regular file's place must not hold us up.
        int fd = Libc.openat(directory, terminated, Libc.O_RDONLY | Processor.O_NOFOLLOW | Libc.O_NONBLOCK | Libc.O_CLOEXEC);
        return fd >= 0 ? fd : -Libc.Errno;
    }

    private static void Leave(Stack<List<int>> way)
    {
        if (!way.TryPop(out List<int>? directories))
            return;
        foreach (int fd in directories)
            _ = Libc.close(fd);
    }

    private static void LeaveAll(Stack<List<int>> way)
    {
        while (way.Count > 0)
            Leave(way);
    }
}
