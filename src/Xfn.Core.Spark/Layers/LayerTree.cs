using System.Runtime.CompilerServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Where a path was found.</summary>
internal enum Place
{
    Nowhere,
    Layer,
    LowerLayers,
}

/// <summary>The directories of a layer that is being unpacked. Finds the one that a path names, through the links in
/// the layer and those below, and makes those that are missing.</summary>
/// <remarks>Links are read and replaced by their text; only <see cref="ConfinedPath"/> opens the result.</remarks>
internal sealed class LayerTree(int rootFd, int lowerRootFd, bool layersBelow, PendingDirectories pending, MemoryBudget budget, LayerSize size) : IDisposable
{
    private const int MaxLinks = 40;

    private readonly Slot _made = new();
    private readonly Slot _found = new();
    private readonly PathSet _opaque = new();
    private GrowingBytes _todo = new();
    private GrowingBytes _nextTodo = new();

    /// <summary>Directories that were made without an entry of their own.</summary>
    public long Implied { get; private set; }

    public bool IsRootOpaque => _opaque.Contains(default);

    /// <summary>The path without links of what <see cref="OpenDirectory"/> opened.</summary>
    public ReadOnlySpan<byte> RealPath => _made.Real.Span;

    /// <summary>The path without links of what <see cref="FindDirectory"/> found.</summary>
    public ReadOnlySpan<byte> FoundPath => _found.Real.Span;

    public void Dispose()
    {
        _made.Close();
        _found.Close();
    }

    /// <summary>Whether <see cref="OpenDirectory"/> would give what it gave last.</summary>
    public bool IsOpen(ReadOnlySpan<byte> path) => _made.Has(path);

    /// <summary>Opens a directory, after making it and those above it where they are missing.</summary>
    /// <returns>A descriptor that stays open until the next call.</returns>
    public int OpenDirectory(ReadOnlySpan<byte> path)
    {
        if (_made.Has(path))
            return _made.Fd;

        _made.Close();
        int fd = ConfinedPath.Open(rootFd, path);
        if (fd >= 0)
        {
            _made.Real.Set(path);
        }
        else if (fd is -Libc.ENOENT or -Libc.ELOOP or -Libc.ENOTDIR)
        {
            Walk(path, make: true, _made.Real);
            fd = ConfinedPath.Open(rootFd, _made.Real.Span);
        }

        if (fd < 0)
            throw Refused("open directory", path, -fd);
        _made.Keep(path, fd);
        return fd;
    }

    /// <summary>Finds a directory of this layer or of those below. One in this layer has a descriptor, which is open
    /// until the next call.</summary>
    public Place FindDirectory(ReadOnlySpan<byte> path, out int fd)
    {
        fd = -1;
        if (!_found.Has(path))
        {
            _found.Close();
            int opened = ConfinedPath.Open(rootFd, path);
            if (opened >= 0)
            {
                _found.Real.Set(path);
            }
            else
            {
                Place place = Walk(path, make: false, _found.Real);
                if (place != Place.Layer)
                    return place;
                opened = ConfinedPath.Open(rootFd, _found.Real.Span);
            }

            if (opened < 0)
                return Place.Nowhere;
            _found.Keep(path, opened);
        }

        fd = _found.Fd;
        return Place.Layer;
    }

    /// <summary>Forgets where paths led: something was replaced. Descriptors stay open until the next call.</summary>
    public void Forget()
    {
        _made.Invalidate();
        _found.Invalidate();
    }

    /// <summary>Whether nothing of the layers below shows in a directory, by a path without links.</summary>
    public bool IsHidingLower(ReadOnlySpan<byte> path) => _opaque.ContainsAncestorOrSelf(path);

    /// <summary>Hides the layers below in a directory of this layer. Its path, without links, is given too.</summary>
    public void MakeOpaque(int parent, ReadOnlySpan<byte> name, ReadOnlySpan<byte> path)
    {
        // One of that path may have been opaque, and was replaced since: the mark is made anew.
        if (_opaque.Add(path))
            budget.Take(path.Length);
        using Descriptor fd = Libc.OpenDirectory(parent, name);
        if (fd < 0)
            throw Refused("open directory", path, Libc.Errno);
        if (Libc.fsetxattr(fd, "user.overlay.opaque"u8, "y"u8, 1, 0) == 0)
            return;
        int errno = Libc.Errno;
        throw errno == Libc.EOPNOTSUPP
            ? new SparkException(SparkFailureKind.Environment, $"cannot hide what lies below directory '{ByteText.Show(path)}': the file system of the cache has no user attributes; use one that has, such as ext4, xfs or btrfs", errno)
            : Refused("hide what lies below directory", path, errno);
    }

    [SkipLocalsInit]
    private Place Walk(ReadOnlySpan<byte> path, bool make, GrowingBytes real)
    {
        real.Clear();
        _todo.Set(path);
        int done = 0, links = 0;
        bool hiding = _opaque.Contains(default), inLayer = true;
        int at = rootFd;
        Span<byte> buffer = stackalloc byte[EntryPath.MaxComponentBytes + 1];
        try
        {
            while (done < _todo.Length)
            {
                ReadOnlySpan<byte> rest = _todo.Span[done..];
                ReadOnlySpan<byte> component = EntryPath.TakeFirst(ref rest);
                done = _todo.Length - rest.Length;
                if (component.IsEmpty || component.SequenceEqual("."u8))
                    continue;
                if (component.SequenceEqual(".."u8))
                {
                    real.Truncate(EntryPath.Parent(real.Span).Length);
                    Reopen(ref at, real.Span);
                    inLayer = at >= 0;
                    hiding = _opaque.ContainsAncestorOrSelf(real.Span);
                    continue;
                }

                if (component.Length > EntryPath.MaxComponentBytes)
                    throw Refused("follow", path, Libc.ENAMETOOLONG);
                ReadOnlySpan<byte> name = EntryPath.Terminate(component, buffer);
                Libc.FileStatus status = default;
                bool isHere = inLayer && Libc.Status(at, name, out status) == 0;
                using Descriptor lowerParent = isHere || hiding || lowerRootFd < 0 ? -1 : ConfinedPath.Open(lowerRootFd, real.Span);
                Place place = isHere ? Place.Layer : lowerParent >= 0 && Libc.Status(lowerParent, name, out status) == 0 ? Place.LowerLayers : Place.Nowhere;
                if (place == Place.Nowhere && make && layersBelow && lowerRootFd < 0 && !hiding)
                    throw new SparkException(SparkFailureKind.NeedsParents, $"cannot unpack '{ByteText.Show(path)}': the layer has no entry for a directory above it, which may be a link in the layers below");

                if (place != Place.Nowhere && status.Type == Libc.S_IFLNK)
                {
                    if (++links > MaxLinks)
                        throw Refused("follow", path, Libc.ELOOP);
                    if (Follow(place == Place.Layer ? at : lowerParent, name, done))
                    {
                        real.Clear();
                        Reopen(ref at, default);
                        (inLayer, hiding) = (true, _opaque.Contains(default));
                    }

                    done = 0;
                    continue;
                }

                EntryPath.Append(real, component);
                if (place != Place.Layer || status.Type != Libc.S_IFDIR)
                {
                    if (!make && (place == Place.Nowhere || status.Type != Libc.S_IFDIR))
                        return Place.Nowhere;
                    if (make)
                        Make(at, name, real.Span, place, lowerParent, status);
                    else
                        inLayer = false;
                }

                hiding |= _opaque.Contains(real.Span);
                if (inLayer)
                {
                    int next = Libc.openat(at, name, Libc.O_PATH | Processor.O_DIRECTORY | Processor.O_NOFOLLOW | Libc.O_CLOEXEC);
                    if (next < 0)
                        throw Refused("open directory", real.Span, Libc.Errno);
                    CloseUnlessRoot(at);
                    at = next;
                }
            }
        }
        finally
        {
            CloseUnlessRoot(at);
        }

        return inLayer ? Place.Layer : Place.LowerLayers;
    }

    /// <summary>Makes a missing directory as the layers below have it, in place of what this layer has there.</summary>
    private void Make(int at, ReadOnlySpan<byte> name, ReadOnlySpan<byte> path, Place place, int lowerParent, in Libc.FileStatus status)
    {
        // Entries' own names were looked at; this can come from a link.
        if (Whiteouts.Classify(EntryPath.Name(path)) != WhiteoutKind.None)
            throw new SparkException(SparkFailureKind.Image, $"cannot make directory '{ByteText.Show(path)}' in the layer: its name is a whiteout's");
        size.AddOnDisk(1);
        if (place == Place.Layer && Libc.unlinkat(at, name, 0) != 0 || Libc.mkdirat(at, name, Metadata.Implied.Mode) != 0)
            throw Refused("make directory", path, Libc.Errno);
        Implied++;
        bool fromLower = place == Place.LowerLayers && status.Type == Libc.S_IFDIR;
        pending.Add(path, fromLower ? Metadata.Of(status) : Metadata.Implied);
        if (place == Place.Layer)
        {
            Forget();
            MakeOpaque(at, name, path);
        }
        else if (fromLower)
        {
            ExtendedAttributes.Copy(lowerParent, at, name);
        }
    }

    /// <summary>Puts what the link says in place of the part that is done.</summary>
    /// <returns>Whether to start at the root again.</returns>
    private bool Follow(int parent, ReadOnlySpan<byte> name, int done)
    {
        Span<byte> target = stackalloc byte[4096];
        nint length = Libc.readlinkat(parent, name, target, (nuint)target.Length);
        if (length <= 0)
            throw SparkException.FromErrno("cannot read a link");
        _nextTodo.Set(target[..(int)length]);
        _nextTodo.Append((byte)'/');
        _nextTodo.Append(_todo.Span[done..]);
        (_todo, _nextTodo) = (_nextTodo, _todo);
        return target[0] == '/';
    }

    private void Reopen(ref int at, ReadOnlySpan<byte> path)
    {
        CloseUnlessRoot(at);
        at = path.IsEmpty ? rootFd : ConfinedPath.Open(rootFd, path);
    }

    private void CloseUnlessRoot(int fd)
    {
        if (fd >= 0 && fd != rootFd)
            _ = Libc.close(fd);
    }

    private static SparkException Refused(string verb, ReadOnlySpan<byte> path, int errno) =>
        new(SparkException.KindOf(errno), $"cannot {verb} '{ByteText.Show(path)}' in the layer: {Libc.Describe(errno)}", errno);

    /// <summary>The directory opened last, and its path: entries of one directory mostly follow one another.</summary>
    private sealed class Slot
    {
        private readonly GrowingBytes _path = new();
        private bool _valid;

        public int Fd { get; private set; } = -1;

        public GrowingBytes Real { get; } = new();

        public bool Has(ReadOnlySpan<byte> path) => _valid && path.SequenceEqual(_path.Span);

        public void Keep(ReadOnlySpan<byte> path, int fd)
        {
            _path.Set(path);
            Fd = fd;
            _valid = true;
        }

        public void Invalidate() => _valid = false;

        public void Close()
        {
            _valid = false;
            if (Fd >= 0)
                _ = Libc.close(Fd);
            Fd = -1;
        }
    }
}
