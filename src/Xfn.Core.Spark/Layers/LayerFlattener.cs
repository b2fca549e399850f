using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Interop;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Copies unpacked layers over one another into one directory, for kernels on which a user cannot mount overlayfs. What can be seen in it is what an overlay of the
/// layers would show.</summary>
/// <remarks>Nothing is recursive, and paths have no links: every directory is opened by <see cref="ConfinedPath"/>.</remarks>
internal sealed unsafe class LayerFlattener
{
    private readonly int _targetFd;
    private readonly PendingDirectories _pending;
    private readonly Stack<byte[]> _todo = new();
    private readonly Dictionary<ulong, byte[]> _linked = [];
    private readonly DirectoryListing _listing = new();

    private LayerFlattener(int targetFd)
    {
        _targetFd = targetFd;
        _pending = new PendingDirectories(targetFd, new MemoryBudget());
    }

    /// <summary>Copies layers into an empty directory, whose own mode and owner stay as they are.</summary>
    /// <param name="layerFds">The layers' directories, the base first.</param>
    /// <param name="targetFd">The directory.</param>
    /// <param name="bottomFd">A directory below them all, which not even an opaque root hides; -1 for none.</param>
    public static void Flatten(IReadOnlyList<int> layerFds, int targetFd, int bottomFd = -1)
    {
        // All that is made would have the access list that the host's directory hands on.
        fixed (byte* name = "system.posix_acl_default\0"u8)
            _ = Libc.fremovexattr(targetFd, name);

        var flattener = new LayerFlattener(targetFd);
        if (bottomFd >= 0)
            flattener.Add(bottomFd);
        int first = layerFds.Count - 1;
        while (first > 0 && !IsOpaque(layerFds[first]))
            first--;
        foreach (int layer in layerFds.Skip(first))
            flattener.Add(layer);
        flattener._pending.Apply();
    }

    private void Add(int layerFd)
    {
        _linked.Clear();
        _todo.Push([]);
        while (_todo.TryPop(out byte[]? path))
        {
            int from = Open(layerFd, path);
            int to = -1;
            try
            {
                to = Open(_targetFd, path);
                AddDirectory(path, from, to);
            }
            finally
            {
                _ = Libc.close(from);
                if (to >= 0)
                    _ = Libc.close(to);
            }
        }
    }

    private void AddDirectory(byte[] path, int from, int to)
    {
        int names;
        fixed (byte* self = ".\0"u8)
            names = Libc.openat(from, self, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0);
        if (names < 0)
            throw SparkException.FromErrno($"cannot list directory '{ByteText.Show(path)}' of a layer");
        try
        {
            while (_listing.Read(names))
            {
                while (_listing.TryTake(out ReadOnlySpan<byte> terminated))
                    AddName(path, from, to, terminated);
            }
        }
        finally
        {
            _ = Libc.close(names);
        }
    }

    private void AddName(byte[] directory, int from, int to, ReadOnlySpan<byte> terminated)
    {
        fixed (byte* name = terminated)
        {
            if (Libc.Status(from, name, out Libc.FileStatus status) != 0)
                throw SparkException.FromErrno($"cannot look at '{ByteText.Show(terminated[..^1])}' of a layer");
            bool exists = Libc.Status(to, name, out Libc.FileStatus existing) == 0;
            bool merge = exists && status.Type == Libc.S_IFDIR && existing.Type == Libc.S_IFDIR && !IsOpaque(from, terminated[..^1]);
            if (exists && !merge)
                TreeRemover.Remove(to, terminated[..^1]);
            if (status.IsWhiteout)
                return;

            byte[] path = directory.Length == 0 ? terminated[..^1].ToArray() : [.. directory, (byte)'/', .. terminated[..^1]];
            if (status.Type == Libc.S_IFDIR)
                AddSubdirectory(path, from, to, name, status, merge);
            else if (status.Links > 1 && _linked.TryGetValue(status.Inode, out byte[]? first))
                Link(first, to, name);
            else
                Copy(path, from, to, name, status);
        }
    }

    private void AddSubdirectory(byte[] path, int from, int to, byte* name, in Libc.FileStatus status, bool merge)
    {
        if (!merge && Libc.mkdirat(to, name, 0b111_000_000) != 0)
            throw SparkException.FromErrno($"cannot make directory '{ByteText.Show(path)}'");
        _pending.Add(path, Metadata.Of(status));
        if (merge)
            ExtendedAttributes.Clear(to, name);
        ExtendedAttributes.Copy(from, to, name);
        _todo.Push(path);
    }

    private void Copy(byte[] path, int from, int to, byte* name, in Libc.FileStatus status)
    {
        FileCopier.Copy(from, name, to, name, status);
        if (status.Links > 1)
            _linked.Add(status.Inode, path);
    }

    private void Link(byte[] first, int to, byte* name)
    {
        int parent = Open(_targetFd, EntryPath.Parent(first));
        byte[] terminated = [.. EntryPath.Name(first), 0];
        int result;
        fixed (byte* firstName = terminated)
            result = Libc.linkat(parent, firstName, to, name, 0);
        int errno = Libc.Errno;
        _ = Libc.close(parent);
        if (result != 0)
            throw SparkException.FromErrno($"cannot link '{ByteText.Show(first)}'", errno);
    }

    private static int Open(int root, ReadOnlySpan<byte> path)
    {
        int fd = ConfinedPath.Open(root, path);
        return fd >= 0 ? fd : throw SparkException.FromErrno($"cannot open directory '{ByteText.Show(path)}'", -fd);
    }

    /// <summary>Whether a directory of a layer hides what lies below it.</summary>
    public static bool IsOpaque(int fd)
    {
        byte value;
        fixed (byte* attribute = "user.overlay.opaque\0"u8)
            return Libc.fgetxattr(fd, attribute, &value, 1) == 1 && value == 'y';
    }

    private static bool IsOpaque(int parent, ReadOnlySpan<byte> name)
    {
        byte[] terminated = [.. name, 0];
        fixed (byte* n = terminated)
        {
            int fd = Libc.openat(parent, n, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW | Libc.O_CLOEXEC, 0);
            if (fd < 0)
                throw SparkException.FromErrno($"cannot open directory '{ByteText.Show(name)}' of a layer");
            bool opaque = IsOpaque(fd);
            _ = Libc.close(fd);
            return opaque;
        }
    }
}
