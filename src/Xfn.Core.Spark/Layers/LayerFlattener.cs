using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Copies unpacked layers over one another into one directory, for kernels on which a user cannot mount
/// overlayfs. It shows what an overlay of the layers would show.</summary>
/// <remarks>Nothing is recursive. <see cref="ConfinedPath"/> opens every directory, by a path without links.</remarks>
internal sealed class LayerFlattener(int targetFd)
{
    private readonly PendingDirectories _pending = new(targetFd, new MemoryBudget());
    private readonly Stack<byte[]> _todo = new();
    private readonly Dictionary<ulong, byte[]> _linked = [];
    private readonly DirectoryListing _listing = new();

    /// <summary>Copies layers, the base first, into an empty directory, whose own mode and owner stay as they are. Not
    /// even an opaque root hides the bottom, a directory below them all; -1 for none.</summary>
    public static void Flatten(IReadOnlyList<int> layerFds, int targetFd, int bottomFd = -1)
    {
        // All that is made would have the access list that the host's directory hands on.
        _ = Libc.fremovexattr(targetFd, "system.posix_acl_default"u8);

        var flattener = new LayerFlattener(targetFd);
        if (bottomFd >= 0)
            flattener.Add(bottomFd);
        int first = layerFds.Count - 1;
        while (first > 0 && !Directories.IsOpaque(layerFds[first]))
            first--;
        foreach (int layer in layerFds.Skip(first))
            flattener.Add(layer);
        flattener._pending.Apply();
    }

    /// <summary>Counts what is in a tree of our own, in which nobody else writes.</summary>
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

    private void Add(int layerFd)
    {
        _linked.Clear();
        _todo.Push([]);
        while (_todo.TryPop(out byte[]? path))
        {
            using Descriptor from = Directories.OpenBelow(layerFd, path), to = Directories.OpenBelow(targetFd, path);
            while (_listing.TryTake(from, out ReadOnlySpan<byte> name))
                AddName(path, from, to, name);
        }
    }

    private void AddName(byte[] directory, int from, int to, ReadOnlySpan<byte> name)
    {
        if (Libc.Status(from, name, out Libc.FileStatus status) != 0)
            throw SparkException.FromErrno($"cannot look at '{ByteText.ShowName(name)}' of a layer");
        bool exists = Libc.Status(to, name, out Libc.FileStatus existing) == 0;
        bool merge = exists && status.Type == Libc.S_IFDIR && existing.Type == Libc.S_IFDIR && !IsOpaque(from, name);
        if (exists && !merge)
            TreeRemover.Remove(to, name[..^1]);
        if (status.IsWhiteout)
            return;

        byte[] path = Directories.Join(directory, name[..^1]);
        if (status.Type == Libc.S_IFDIR)
        {
            AddSubdirectory(path, from, to, name, status, merge);
        }
        else if (status.Links > 1 && _linked.TryGetValue(status.Inode, out byte[]? first))
        {
            Link(first, to, name);
        }
        else
        {
            FileCopier.Copy(from, name, to, status);
            if (status.Links > 1)
                _linked.Add(status.Inode, path);
        }
    }

    private void AddSubdirectory(byte[] path, int from, int to, ReadOnlySpan<byte> name, in Libc.FileStatus status, bool merge)
    {
        if (!merge && Libc.mkdirat(to, name, 0b111_000_000) != 0)
            throw SparkException.FromErrno($"cannot make directory '{ByteText.Show(path)}'");
        _pending.Add(path, Metadata.Of(status));
        if (merge)
            ExtendedAttributes.Clear(to, name);
        ExtendedAttributes.Copy(from, to, name);
        _todo.Push(path);
    }

    private void Link(byte[] first, int to, ReadOnlySpan<byte> name)
    {
        using Descriptor parent = Directories.OpenBelow(targetFd, EntryPath.Parent(first));
        if (Libc.linkat(parent, EntryPath.Terminate(EntryPath.Name(first), stackalloc byte[EntryPath.MaxComponentBytes + 1]), to, name, 0) != 0)
            throw SparkException.FromErrno($"cannot link '{ByteText.Show(first)}'");
    }

    private static bool IsOpaque(int parent, ReadOnlySpan<byte> name)
    {
        using Descriptor fd = Libc.OpenDirectory(parent, name);
        return fd >= 0 ? Directories.IsOpaque(fd) : throw SparkException.FromErrno($"cannot open directory '{ByteText.ShowName(name)}' of a layer");
    }
}
