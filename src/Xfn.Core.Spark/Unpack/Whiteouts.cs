namespace Xfn.Core.Spark.Unpack;

/// <summary>What a name says about the layers below.</summary>
internal enum WhiteoutKind
{
    /// <summary>Nothing: it is a name.</summary>
    None,

    /// <summary>It hides one name.</summary>
    Plain,

    /// <summary>It hides all that they have in its directory.</summary>
    Opaque,

    /// <summary>It is a book-keeping file of AUFS, where whiteouts come from.</summary>
    Ignored,

    /// <summary>It names nothing, or something that cannot be hidden.</summary>
    Invalid,
}

/// <summary>Writes whiteouts as overlayfs has them. They hide what the layers below have, never what this layer has, wherever in the archive they stand.</summary>
/// <remarks>https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts, https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories</remarks>
internal sealed unsafe class Whiteouts(int rootFd, LayerTree tree, MemoryBudget budget, LayerSize size)
{
    private readonly List<byte[]> _made = [];
    private readonly GrowingBytes _path = new();

    private static ReadOnlySpan<byte> Prefix => ".wh."u8;

    private static ReadOnlySpan<byte> MetaPrefix => ".wh..wh."u8;

    public static WhiteoutKind Classify(ReadOnlySpan<byte> path)
    {
        if (path.IndexOf(Prefix) < 0)
            return WhiteoutKind.None;

        ReadOnlySpan<byte> rest = path;
        while (!rest.IsEmpty)
        {
            ReadOnlySpan<byte> component = EntryPath.TakeFirst(ref rest);
            if (!component.StartsWith(Prefix))
                continue;
            if (rest.IsEmpty && component.SequenceEqual(".wh..wh..opq"u8))
                return WhiteoutKind.Opaque;
            if (component.StartsWith(MetaPrefix))
                return WhiteoutKind.Ignored;
            // A directory of such a name could not be told from a whiteout.
            return rest.IsEmpty && Hidden(component) is { IsEmpty: false } hidden && !hidden.SequenceEqual("."u8) && !hidden.SequenceEqual(".."u8)
                ? WhiteoutKind.Plain
                : WhiteoutKind.Invalid;
        }

        return WhiteoutKind.None;
    }

    /// <summary>The name that a plain whiteout hides.</summary>
    public static ReadOnlySpan<byte> Hidden(ReadOnlySpan<byte> whiteout) => whiteout[Prefix.Length..];

    public void Hide(ReadOnlySpan<byte> directory, ReadOnlySpan<byte> hidden)
    {
        int parent = tree.OpenDirectory(directory);
        byte* name = stackalloc byte[EntryPath.MaxComponentBytes + 1];
        if (hidden.Length > EntryPath.MaxComponentBytes)
            throw Refused(hidden, Libc.ENAMETOOLONG);
        hidden.CopyTo(new Span<byte>(name, EntryPath.MaxComponentBytes));
        name[hidden.Length] = 0;
        _path.Set(tree.RealPath);
        EntryPath.Append(_path, hidden);

        size.AddOnDisk(1);
        // Needs no capability since Linux 5.8, though it is a device.
        if (Libc.mknodat(parent, name, Libc.S_IFCHR, 0) == 0)
        {
            // Nobody sees it, but the same layer always makes the same tree.
            Libc.TimeSpec* times = stackalloc Libc.TimeSpec[2];
            if (Libc.utimensat(parent, name, times, Libc.AT_SYMLINK_NOFOLLOW) != 0)
                throw Refused(_path.Span, Libc.Errno);
            budget.Take(_path.Length);
            _made.Add(_path.Span.ToArray());
        }
        else if (Libc.Errno != Libc.EEXIST)
        {
            throw Refused(_path.Span, Libc.Errno);
        }
        else if (Libc.Status(parent, name, out Libc.FileStatus status) == 0 && status.Type == Libc.S_IFDIR)
        {
            // The layer has a directory there; anything else hides what is below by being there.
            tree.MakeOpaque(parent, name, _path.Span);
        }
    }

    public void HideAllIn(ReadOnlySpan<byte> directory)
    {
        int fd = tree.OpenDirectory(directory);
        fixed (byte* self = ".\0"u8)
            tree.MakeOpaque(fd, self, tree.RealPath);
    }

    /// <summary>Removes whiteouts where nothing is left to hide: overlayfs does not merge an opaque directory with others, and then lists whiteouts in it as names.</summary>
    public void RemoveGhosts()
    {
        foreach (byte[] whiteout in _made)
        {
            if (!tree.IsHidingLower(EntryPath.Parent(whiteout)))
                continue;
            int parent = Beneath.Open(rootFd, EntryPath.Parent(whiteout));
            if (parent < 0)
                continue;
            byte[] terminated = [.. EntryPath.Name(whiteout), 0];
            fixed (byte* name = terminated)
            {
                if (Libc.Status(parent, name, out Libc.FileStatus status) == 0 && status.IsWhiteout)
                    _ = Libc.unlinkat(parent, name, 0);
            }

            _ = Libc.close(parent);
        }
    }

    private static SparkException Refused(ReadOnlySpan<byte> path, int errno) => new(
        errno == Libc.EPERM ? SparkFailureKind.Environment : Failures.KindOf(errno),
        $"cannot make a whiteout of '{ByteText.Show(path)}': {Libc.Describe(errno)}", errno);
}
