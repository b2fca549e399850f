using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Writes a layer's tar stream as a directory that overlayfs can mount.</summary>
internal sealed class LayerUnpacker : IDisposable
{
    private readonly SparkUnpack _request;
    private readonly int _rootFd;
    private readonly int _lowerRootFd;
    private readonly TarInput _input;
    private readonly TarReader _reader;
    private readonly TarEntry _entry;
    private readonly LayerSize _size;
    private readonly PendingDirectories _pending;
    private readonly LayerTree _tree;
    private readonly Whiteouts _whiteouts;
    private readonly SmallFiles _small;
    private readonly OwnerMapper _owners;
    private readonly UnpackWarnings _warnings = new();
    private readonly GrowingBytes _path = new();
    private readonly GrowingBytes _target = new();
    private long _entries;
    private Metadata? _rootMetadata;

    private LayerUnpacker(int tarFd, int directoryFd, SparkUnpack request, int lowerRootFd, IdMap uids, IdMap gids, bool mayStartThread)
    {
        _request = request;
        _rootFd = directoryFd;
        _lowerRootFd = lowerRootFd;
        _input = new TarInput(tarFd);
        _reader = new TarReader(_input);
        _entry = _reader.Entry;
        _size = new LayerSize(request, _reader, directoryFd);
        var budget = new MemoryBudget();
        _pending = new PendingDirectories(directoryFd, budget);
        _tree = new LayerTree(directoryFd, lowerRootFd, request.LayersBelow, _pending, budget, _size);
        _whiteouts = new Whiteouts(directoryFd, lowerRootFd, isBottom: !request.LayersBelow, _tree, budget, _size);
        _small = new SmallFiles(mayStartThread);
        _owners = new OwnerMapper(uids, gids, request.SquashUnmappedIds, _warnings);
    }

    /// <summary>Unpacks an uncompressed tar stream, which is read to its end, into an empty directory of ours. The root
    /// below is what the layers below make together, read-only; -1 when they are not at hand.</summary>
    /// <exception cref="SparkException">It cannot be unpacked; the directory then holds a part of it.</exception>
    public static SparkUnpacked Unpack(int tarFd, int directoryFd, SparkUnpack request, int lowerRootFd, IdMap? uids = null, IdMap? gids = null, bool mayStartThread = true)
    {
        uids ??= IdMap.Read("/proc/self/uid_map");
        gids ??= IdMap.Read("/proc/self/gid_map");

        // Modes are the archive's.
        uint mask = Libc.umask(0);
        try
        {
            using var unpacker = new LayerUnpacker(tarFd, directoryFd, request, lowerRootFd, uids, gids, mayStartThread);
            return unpacker.Run();
        }
        finally
        {
            _ = Libc.umask(mask);
        }
    }

    public void Dispose()
    {
        _small.Dispose();
        _tree.Dispose();
        _input.Dispose();
    }

    private SparkUnpacked Run()
    {
        ClearInheritance();
        UnpackEntries();
        _reader.Drain();
        IReadOnlyList<string> whiteoutDirectories = _whiteouts.RemoveGhosts();
        _pending.Apply();
        ApplyToRoot();
        return new SparkUnpacked
        {
            Entries = _entries + _tree.Implied,
            Bytes = _size.DiskBytes,
            HasRoot = _rootMetadata is not null,
            RootMode = (_rootMetadata ?? Metadata.Implied).Mode,
            RootUid = _rootMetadata?.Uid ?? 0,
            RootGid = _rootMetadata?.Gid ?? 0,
            OpaqueRoot = _tree.IsRootOpaque,
            WhiteoutDirectories = whiteoutDirectories,
            HighestUid = _owners.HighestUid,
            HighestGid = _owners.HighestGid,
            Warnings = _warnings.ToLines(),
        };
    }

    private void UnpackEntries()
    {
        try
        {
            while (_reader.Next())
            {
                CheckLimits();
                UnpackEntry();
            }
        }
        catch (SparkException)
        {
            // Of several errors the first in the archive's order is told.
            FinishSmallFiles();
            throw;
        }

        FinishSmallFiles();
    }

    /// <summary>Removes what the host's directory hands on to new files: a default access list, a group.</summary>
    private void ClearInheritance()
    {
        _ = Libc.fremovexattr(_rootFd, "system.posix_acl_default"u8);
        if (Libc.Status(_rootFd, out Libc.FileStatus status) != 0 || (status.Mode & Metadata.SpecialBits) != 0 && Libc.fchmod(_rootFd, status.Mode & ~Metadata.SpecialBits & 0xFFF) != 0)
            throw SparkException.FromErrno("cannot prepare the layer's directory");
    }

    private void CheckLimits()
    {
        if (++_entries + _tree.Implied > _request.MaxEntries)
            throw _reader.OverLimit($"with it the layer has more than {_request.MaxEntries} entries", "MaxLayerEntries");
        _size.AddEntry();
        if (Math.Max(_entry.Name.Length, _entry.LinkName.Length) > _request.MaxNameBytes)
            throw _reader.OverLimit($"its name or what it links to has more than {_request.MaxNameBytes} bytes", "MaxNameBytes");
        EntryPath.Clean(_entry.Name.Span, _path);
        if (_path.Span.Count((byte)'/') >= _request.MaxDepth)
            throw _reader.OverLimit($"it lies more than {_request.MaxDepth} directories deep", "MaxDepth");
    }

    private void UnpackEntry()
    {
        ReadOnlySpan<byte> parentPath = EntryPath.Parent(_path.Span);
        ReadOnlySpan<byte> last = EntryPath.Name(_path.Span);
        WhiteoutKind whiteout = Whiteouts.Classify(_path.Span);
        bool isSmallFile = _path.Length > 0 && whiteout == WhiteoutKind.None && SmallFiles.Takes(_entry);
        if (!isSmallFile || !_tree.IsOpen(parentPath) || !_small.HasRoomFor(last))
            FinishSmallFiles();
        if (_path.Length == 0)
        {
            UnpackRoot();
            return;
        }

        switch (whiteout)
        {
            case WhiteoutKind.Ignored:
                return;
            case WhiteoutKind.Invalid:
                throw _reader.Malformed("its name is a whiteout's, of nothing");
            case WhiteoutKind.Opaque:
                _whiteouts.HideAllIn(parentPath);
                return;
            case WhiteoutKind.Plain:
                _whiteouts.Hide(parentPath, Whiteouts.Hidden(last));
                return;
        }

        if (last.Length > EntryPath.MaxComponentBytes)
            throw Refused(Libc.ENAMETOOLONG);
        ReadOnlySpan<byte> name = EntryPath.Terminate(last, stackalloc byte[EntryPath.MaxComponentBytes + 1]);
        switch (_entry.Kind)
        {
            case TarEntryKind.File when isSmallFile:
                _small.Add(_tree.OpenDirectory(parentPath), name, EntryMetadata(), _reader);
                break;
            case TarEntryKind.File:
                MakeFile(_tree.OpenDirectory(parentPath), name);
                break;
            case TarEntryKind.Directory:
                MakeDirectory(_tree.OpenDirectory(parentPath), name, last);
                break;
            case TarEntryKind.SymbolicLink or TarEntryKind.Fifo:
                MakeSpecial(_tree.OpenDirectory(parentPath), name);
                break;
            case TarEntryKind.HardLink:
                MakeHardLink(parentPath, name, last);
                break;
            default:
                _warnings.Device(_entry);
                break;
        }
    }

    private void UnpackRoot()
    {
        if (_entry.Kind != TarEntryKind.Directory)
            throw _reader.Malformed("it is the root, but no directory");
        ExtendedAttributes.Clear(_rootFd, "."u8);
        _rootMetadata = EntryMetadata();
        ApplyAttributes(_rootFd);
    }

    private void ApplyToRoot()
    {
        if (_rootMetadata is not { } m)
            return;
        if (Libc.fchown(_rootFd, m.Uid, m.Gid) != 0 || Libc.fchmod(_rootFd, m.Mode) != 0 || Libc.futimens(_rootFd, m.Modified) != 0)
            throw SparkException.FromErrno("cannot set mode, owner and time of the layer's root");
    }

    private Metadata EntryMetadata()
    {
        (uint uid, uint gid, uint mode) = _owners.Of(_reader);
        return new Metadata(mode, uid, gid, new Libc.TimeSpec { Seconds = _entry.ModifiedSeconds, Nanoseconds = _entry.ModifiedNanoseconds });
    }

    /// <summary>Waits for the small files that were added. Where something had the name of one, that is removed now: of
    /// several entries of one name the last holds.</summary>
    private void FinishSmallFiles()
    {
        foreach (SmallFile file in _small.Finish())
        {
            if (file.Errno == Libc.EEXIST)
            {
                if (RemoveExisting(file.Parent, file.Name) is > 0 and int errno)
                    throw file.Refused(_reader, errno);
                file.Make();
            }

            if (file.Errno != 0)
                throw file.Refused(_reader, file.Errno);
        }
    }

    private void MakeFile(int parent, ReadOnlySpan<byte> name)
    {
        Metadata m = EntryMetadata();
        using Descriptor fd = Create(parent, name, m.PlainMode);
        FileWriter.Write(fd, _reader);
        if (!m.TryGiveTo(fd))
            throw Refused(Libc.Errno);
        ApplyAttributes(fd);
        if (Libc.futimens(fd, m.Modified) != 0)
            throw Refused(Libc.Errno);
    }

    private void MakeDirectory(int parent, ReadOnlySpan<byte> name, ReadOnlySpan<byte> last)
    {
        Metadata m = EntryMetadata();
        _target.Set(_tree.RealPath);
        EntryPath.Append(_target, last);
        // Its special bits come last, as they are inherited.
        if (Libc.mkdirat(parent, name, m.PlainMode) != 0)
        {
            if (Libc.Errno != Libc.EEXIST || Libc.Status(parent, name, out Libc.FileStatus status) != 0)
                throw Refused(Libc.Errno);
            if (status.Type == Libc.S_IFDIR)
            {
                // An earlier entry's, or those of the layers below, if it was only implied until now.
                ExtendedAttributes.Clear(parent, name);
            }
            else
            {
                // Whatever it was hid what the layers below have there, and so does the directory in its place.
                Replace(parent, name);
                if (Libc.mkdirat(parent, name, m.PlainMode) != 0)
                    throw Refused(Libc.Errno);
                _tree.MakeOpaque(parent, name, _target.Span);
            }
        }

        _pending.Add(_target.Span, m);
        if (_entry.Attributes.Count == 0)
            return;
        using Descriptor fd = Libc.OpenDirectory(parent, name);
        if (fd < 0)
            throw Refused(Libc.Errno);
        ApplyAttributes(fd);
    }

    /// <summary>Makes a symbolic link or a FIFO.</summary>
    private void MakeSpecial(int parent, ReadOnlySpan<byte> name)
    {
        bool isFifo = _entry.Kind == TarEntryKind.Fifo;
        _ = Create(parent, name, 0b110_000_000);
        Metadata m = EntryMetadata();

        // Only a FIFO's mode is set, and it was just made: there is no link that chmod could follow.
        if ((m.Uid | m.Gid) != 0 && Libc.fchownat(parent, name, m.Uid, m.Gid, Libc.AT_SYMLINK_NOFOLLOW) != 0
            || isFifo && Libc.fchmodat(parent, name, m.Mode, 0) != 0
            || Libc.utimensat(parent, name, m.Modified) != 0)
            throw Refused(Libc.Errno);
        // The kernel lets neither have user attributes.
        ExtendedAttributes.LeaveOut(_entry, _warnings);
    }

    /// <summary>Makes the entry in place of what is there: of several entries of one name the last holds.</summary>
    /// <returns>The descriptor of a file; 0 for anything else.</returns>
    private int Create(int parent, ReadOnlySpan<byte> name, uint mode)
    {
        for (bool replaced = false; ; replaced = true)
        {
            int result = _entry.Kind switch
            {
                TarEntryKind.File => Libc.openat(parent, name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, mode),
                TarEntryKind.SymbolicLink => Libc.symlinkat(_entry.LinkName.Terminated(), parent, name),
                _ => Libc.mknodat(parent, name, Libc.S_IFIFO | mode, 0),
            };
            if (result >= 0)
                return result;
            if (replaced || Libc.Errno != Libc.EEXIST)
                throw Refused(Libc.Errno);
            Replace(parent, name);
        }
    }

    /// <summary>Links to a file of the layer, or to one of the layers below, which is copied up first.</summary>
    private void MakeHardLink(ReadOnlySpan<byte> parentPath, ReadOnlySpan<byte> name, ReadOnlySpan<byte> last)
    {
        EntryPath.Clean(_entry.LinkName.Span, _target);
        ReadOnlySpan<byte> targetName = EntryPath.Name(_target.Span);
        if (targetName.IsEmpty || Whiteouts.Classify(_target.Span) != WhiteoutKind.None)
            throw Unlinkable("is nothing that can be linked to");
        if (targetName.Length > EntryPath.MaxComponentBytes)
            throw Refused(Libc.ENAMETOOLONG);
        ReadOnlySpan<byte> target = EntryPath.Terminate(targetName, stackalloc byte[EntryPath.MaxComponentBytes + 1]);

        // First, because it may put a directory in the place of what is linked to.
        _ = _tree.OpenDirectory(parentPath);
        Place place = _tree.FindDirectory(EntryPath.Parent(_target.Span), out int targetParent);
        bool found = Libc.Status(targetParent, target, out Libc.FileStatus status) == 0 && place == Place.Layer;
        if (!found)
        {
            if (_lowerRootFd < 0 && !_tree.IsHidingLower(EntryPath.Parent(_target.Span)))
                throw new SparkException(SparkFailureKind.NeedsParents, _reader.Malformed($"the layer has no '{ByteText.Show(_entry.LinkName.Span)}' that it links to").Message);
            if (place == Place.Nowhere || !TryCopyUp(target))
                throw Unlinkable("does not exist");
            place = _tree.FindDirectory(EntryPath.Parent(_target.Span), out targetParent);
            if (place != Place.Layer || Libc.Status(targetParent, target, out status) != 0)
                throw Unlinkable("does not exist");
        }

        if (status.IsWhiteout)
            throw Unlinkable("was deleted by this layer");
        if (status.Type == Libc.S_IFDIR)
            throw Unlinkable("is a directory");

        int parent = _tree.OpenDirectory(parentPath);
        if (Libc.linkat(targetParent, target, parent, name, 0) == 0)
            return;
        if (Libc.Errno != Libc.EEXIST)
            throw Refused(Libc.Errno);
        if (_tree.RealPath.SequenceEqual(_tree.FoundPath) && targetName.SequenceEqual(last))
            throw Unlinkable("is the link itself");
        if (Libc.Status(parent, name, out Libc.FileStatus existing) == 0 && existing.Inode == status.Inode)
            return;
        Replace(parent, name);
        if (Libc.linkat(targetParent, target, parent, name, 0) != 0)
            throw Refused(Libc.Errno);
    }

    /// <summary>Copies the lower file that the tree found last, as overlayfs does for a link: links cannot cross
    /// layers. Links go to the copy, so names stay one file.</summary>
    /// <returns>Whether there is such a file.</returns>
    private bool TryCopyUp(ReadOnlySpan<byte> name)
    {
        byte[] directory = _tree.FoundPath.ToArray();
        if (_tree.IsHidingLower(directory))
            return false;
        using Descriptor lower = ConfinedPath.Open(_lowerRootFd, directory);
        if (lower < 0 || Libc.Status(lower, name, out Libc.FileStatus status) != 0)
            return false;
        if (status.Type == Libc.S_IFDIR)
            throw Unlinkable("is a directory");
        _size.AddOnDisk(status.DiskBytes);
        FileCopier.Copy(lower, name, _tree.OpenDirectory(directory), status);
        _tree.Forget();
        return true;
    }

    private SparkException Unlinkable(string why) => _reader.Malformed($"'{ByteText.Show(_entry.LinkName.Span)}', which it links to, {why}");

    private void ApplyAttributes(int fd)
    {
        if (_entry.Attributes.Count > 0)
            ExtendedAttributes.Apply(fd, _reader, _warnings);
    }

    /// <returns>0, or why it could not be removed.</returns>
    private int RemoveExisting(int parent, ReadOnlySpan<byte> name)
    {
        if (Libc.Status(parent, name, out Libc.FileStatus status) != 0)
            return Libc.Errno;
        if (status.Type is Libc.S_IFDIR or Libc.S_IFLNK)
            _tree.Forget();
        if (status.Type != Libc.S_IFDIR)
            return Libc.unlinkat(parent, name, 0) == 0 ? 0 : Libc.Errno;
        TreeRemover.Remove(parent, name[..^1]);
        return 0;
    }

    /// <summary>Makes way for the entry.</summary>
    private void Replace(int parent, ReadOnlySpan<byte> name)
    {
        if (RemoveExisting(parent, name) is > 0 and int errno)
            throw Refused(errno);
    }

    private SparkException Refused(int errno) => _reader.Refused(SparkException.KindOf(errno), Libc.Describe(errno), errno);
}
