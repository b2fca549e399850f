using System.Text;
using System.Text.Unicode;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

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

/// <summary>Writes overlayfs's whiteouts. They hide only the layers below, wherever the archive has them.</summary>
/// <remarks>https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts,
/// https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories</remarks>
internal sealed class Whiteouts(int rootFd, int lowerRootFd, bool isBottom, LayerTree tree, MemoryBudget budget, LayerSize size)
{
    // Layers have a few, and they are kept in the layer's record.
    private const int MostDirectories = 256;

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
        // A directory that is nowhere has nothing to hide, and does not come to be by this.
        if ((isBottom || lowerRootFd >= 0) && tree.FindDirectory(directory, out _) == Place.Nowhere)
            return;
        int parent = tree.OpenDirectory(directory);
        if (hidden.Length > EntryPath.MaxComponentBytes)
            throw Refused(hidden, Libc.ENAMETOOLONG);
        ReadOnlySpan<byte> name = EntryPath.Terminate(hidden, stackalloc byte[EntryPath.MaxComponentBytes + 1]);
        _path.Set(tree.RealPath);
        EntryPath.Append(_path, hidden);

        size.AddOnDisk(1);
        // Needs no capability since Linux 5.8, though it is a device.
        if (Libc.mknodat(parent, name, Libc.S_IFCHR, 0) == 0)
        {
            // Nobody sees it, but the same layer always makes the same tree.
            if (Libc.utimensat(parent, name, default(Libc.TimeSpec)) != 0)
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
        tree.MakeOpaque(fd, "."u8, tree.RealPath);
    }

    /// <summary>Removes whiteouts where nothing is left to hide. Overlayfs does not merge a directory that only this
    /// layer has, and then lists whiteouts in it as names that cannot be opened.</summary>
    /// <returns>Without the layers below: directories with whiteouts, each of which those layers must have.</returns>
    public IReadOnlyList<string> RemoveGhosts()
    {
        var directories = new PathSet();
        foreach (byte[] whiteout in _made)
        {
            ReadOnlySpan<byte> directory = EntryPath.Parent(whiteout);
            if (IsMerged(directory))
            {
                if (lowerRootFd < 0 && directory.Length > 0)
                    directories.Add(directory);
                continue;
            }

            using Descriptor parent = ConfinedPath.Open(rootFd, directory);
            byte[] name = [.. EntryPath.Name(whiteout), 0];
            if (parent >= 0 && Libc.Status(parent, name, out Libc.FileStatus status) == 0 && status.IsWhiteout)
                _ = Libc.unlinkat(parent, name, 0);
        }

        if (directories.Count > MostDirectories || !directories.Paths.All(path => Utf8.IsValid(path)))
            throw new SparkException(SparkFailureKind.NeedsParents, $"cannot unpack the layer: it has whiteouts in {directories.Count} directories, which the layers below may lack");
        return [.. directories.Paths.Select(Encoding.UTF8.GetString)];
    }

    /// <summary>Whether overlayfs merges a directory with one below, as far as is known. The root always is.</summary>
    private bool IsMerged(ReadOnlySpan<byte> directory)
    {
        if (tree.IsHidingLower(directory))
            return false;
        if (directory.IsEmpty || lowerRootFd < 0)
            return directory.IsEmpty || !isBottom;
        using Descriptor lower = ConfinedPath.Open(lowerRootFd, directory);
        return lower >= 0;
    }

    private static SparkException Refused(ReadOnlySpan<byte> path, int errno) => new(
        errno == Libc.EPERM ? SparkFailureKind.Environment : SparkException.KindOf(errno),
        $"cannot make a whiteout of '{ByteText.Show(path)}': {Libc.Describe(errno)}", errno);
}
