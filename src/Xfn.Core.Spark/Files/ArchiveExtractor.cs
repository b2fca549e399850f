using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Unpacks an archive into a tree that others may change meanwhile. Links are followed, but never out of the
/// root. A file takes the place of another one; what was there is never written to.</summary>
internal sealed class ArchiveExtractor
{
    private const ulong Resolve = Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS;

    // As often as a program could put something else in a file's place before it is tiresome.
    private const int Attempts = 16;

    private readonly SparkCopyIn _request;
    private readonly int _root;
    private readonly TarReader _reader;
    private readonly TarEntry _entry;
    private readonly OwnerMapper _owners;
    private readonly UnpackWarnings _warnings = new();
    private readonly GrowingBytes _path = new();
    private byte[] _openPath = [];
    private int _open = -1;
    private long _entries;
    private long _bytes;

    private ArchiveExtractor(int root, SparkCopyIn request, TarInput archive, IdMap uids, IdMap gids)
    {
        (_root, _request) = (root, request);
        _reader = new TarReader(archive, "archive entry");
        _entry = _reader.Entry;
        _owners = new OwnerMapper(uids, gids, squash: true, _warnings);
    }

    /// <summary>Unpacks an archive.</summary>
    /// <param name="root">The root that the request's path starts from.</param>
    /// <param name="request">Where to, and how much at most.</param>
    /// <param name="archive">Where it is read from, to its end.</param>
    /// <param name="uids">The user ids that there are.</param>
    /// <param name="gids">The group ids that there are.</param>
    public static SparkCopied Extract(int root, SparkCopyIn request, int archive, IdMap uids, IdMap gids)
    {
        using var input = new TarInput(archive);
        return new ArchiveExtractor(root, request, input, uids, gids).Run();
    }

    private SparkCopied Run()
    {
        byte[] top = Encoding.UTF8.GetBytes(_request.Directory);
        _ = OpenDirectory(top);
        while (_reader.Next())
        {
            CheckLimits();
            EntryPath.Clean(_entry.Name.Span, _path);
            if (_path.Length > 0)
                Make(Directories.Join(top, EntryPath.Parent(_path.Span)), EntryPath.Name(_path.Span));
        }

        _reader.Drain();
        return new SparkCopied(_request.Id, _entries, _bytes, _warnings.ToLines());
    }

    private void CheckLimits()
    {
        if (++_entries > _request.MaxEntries)
            throw _reader.Refused(SparkFailureKind.Limit, $"with it the archive has more than {_request.MaxEntries} entries");
        if (_entry.Kind != TarEntryKind.File)
            return;
        if (_entry.FileBytes > _request.MaxBytes - _bytes)
            throw _reader.Refused(SparkFailureKind.Limit, $"with its {_entry.FileBytes} bytes the archive's files have more than {_request.MaxBytes}");
        _bytes += _entry.FileBytes;
    }

    private void Make(byte[] parentPath, ReadOnlySpan<byte> last)
    {
        if (last.Length > EntryPath.MaxComponentBytes)
            throw Refused(Libc.ENAMETOOLONG);
        ReadOnlySpan<byte> name = EntryPath.Terminate(last, stackalloc byte[EntryPath.MaxComponentBytes + 1]);
        switch (_entry.Kind)
        {
            case TarEntryKind.File:
                MakeFile(OpenDirectory(parentPath), name);
                break;
            case TarEntryKind.Directory:
                MakeDirectory(OpenDirectory(parentPath), name, Directories.Join(parentPath, last));
                break;
            case TarEntryKind.SymbolicLink:
                MakeLink(OpenDirectory(parentPath), name);
                break;
            case TarEntryKind.HardLink:
                MakeHardLink(parentPath, name);
                break;
            default:
                _warnings.LeftOut(_entry.Name.Span, "neither a file nor a directory nor a link");
                break;
        }
    }

    private void MakeFile(int parent, ReadOnlySpan<byte> name)
    {
        int made = -1;
        for (int attempt = 0; made < 0; attempt++)
        {
            made = Libc.openat(parent, name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, 0b110_000_000);
            if (made < 0)
                Clear(parent, name, attempt);
        }

        using Descriptor fd = made;
        FileWriter.Write(fd, _reader);
        SetMetadata(fd);
    }

    private void MakeDirectory(int parent, ReadOnlySpan<byte> name, byte[] path)
    {
        if (Libc.mkdirat(parent, name, 0b111_000_000) != 0)
        {
            // A directory that is there, or that a link there leads to, stays as it is.
            if (Libc.Errno != Libc.EEXIST)
                throw Refused(Libc.Errno);
            int existing = OpenInRoot(path);
            if (existing < 0)
                throw Refused(-existing);
            _ = Libc.close(existing);
            return;
        }

        using Descriptor fd = Libc.OpenDirectory(parent, name);
        if (fd < 0)
            throw Refused(Libc.Errno);
        SetMetadata(fd);
    }

    private void SetMetadata(int fd)
    {
        // Owner first: changing it clears setuid and setgid bits, and capabilities.
        (uint uid, uint gid, uint mode) = _owners.Of(_reader);
        if (Libc.fchown(fd, uid, gid) != 0 || Libc.fchmod(fd, mode) != 0)
            throw Refused(Libc.Errno);
        ExtendedAttributes.Apply(fd, _reader, _warnings);
        if (Libc.futimens(fd, new() { Seconds = _entry.ModifiedSeconds, Nanoseconds = _entry.ModifiedNanoseconds }) != 0)
            throw Refused(Libc.Errno);
    }

    private void MakeLink(int parent, ReadOnlySpan<byte> name)
    {
        for (int attempt = 0; Libc.symlinkat(_entry.LinkName.Terminated(), parent, name) != 0; attempt++)
            Clear(parent, name, attempt);

        // Another file may be in its place by now, which is not to change owners.
        (uint uid, uint gid, _) = _owners.Of(_reader);
        using Descriptor link = Libc.openat(parent, name, Libc.O_PATH | Processor.O_NOFOLLOW | Libc.O_CLOEXEC);
        if (link >= 0 && Libc.Status(link, out Libc.FileStatus status) == 0 && status.Type == Libc.S_IFLNK && Libc.fchownat(link, "\0"u8, uid, gid, Libc.AT_EMPTY_PATH) != 0)
            throw Refused(Libc.Errno);
        ExtendedAttributes.LeaveOut(_entry, _warnings);
    }

    /// <summary>Links to a file of the archive, or to one that the directory had before.</summary>
    private void MakeHardLink(byte[] parentPath, ReadOnlySpan<byte> name)
    {
        var target = new GrowingBytes();
        EntryPath.Clean(_entry.LinkName.Span, target);
        ReadOnlySpan<byte> last = EntryPath.Name(target.Span);
        if (last.Length is 0 or > EntryPath.MaxComponentBytes)
            throw _reader.Malformed("what it links to is no file");
        using Descriptor from = OpenInRoot(Directories.Join(Encoding.UTF8.GetBytes(_request.Directory), EntryPath.Parent(target.Span)));
        ReadOnlySpan<byte> targetName = EntryPath.Terminate(last, stackalloc byte[EntryPath.MaxComponentBytes + 1]);

        // A link of a name to itself is there already.
        int parent = OpenDirectory(parentPath);
        for (int attempt = 0; from < 0 || Libc.linkat(from, targetName, parent, name, 0) != 0; attempt++)
        {
            if (from < 0 || Libc.Errno != Libc.EEXIST)
                throw _reader.Refused(SparkFailureKind.Image, $"cannot link to '{ByteText.Show(_entry.LinkName.Span)}': {Libc.Describe(from < 0 ? -from : Libc.Errno)}");
            if (Libc.Status(from, targetName, out Libc.FileStatus source) == 0 && Libc.Status(parent, name, out Libc.FileStatus existing) == 0 && source.Inode == existing.Inode)
                return;
            Clear(parent, name, attempt, Libc.EEXIST);
        }
    }

    /// <summary>Removes what stands in an entry's place, unless it is a directory.</summary>
    private void Clear(int parent, ReadOnlySpan<byte> name, int attempt, int? refusal = null)
    {
        int errno = refusal ?? Libc.Errno;
        if (errno != Libc.EEXIST || attempt == Attempts)
            throw Refused(errno);
        if (Libc.unlinkat(parent, name, 0) != 0 && Libc.Errno != Libc.ENOENT)
            throw Refused(Libc.Errno);
    }

    /// <summary>Opens a directory, after making it and those above it where they are missing.</summary>
    /// <returns>A descriptor that stays open until the next call.</returns>
    private int OpenDirectory(byte[] path)
    {
        // Entries of one directory mostly follow one another.
        if (_open >= 0 && path.AsSpan().SequenceEqual(_openPath))
            return _open;
        if (_open >= 0)
            _ = Libc.close(_open);
        _open = OpenInRoot(path);
        if (_open == -Libc.ENOENT)
        {
            MakeMissing(path);
            _open = OpenInRoot(path);
        }

        _openPath = path;
        return _open >= 0 ? _open : throw SparkException.FromErrno($"cannot open directory '{ByteText.Show(path)}' in the container", -_open);
    }

    private void MakeMissing(byte[] path)
    {
        for (int end = 0; end < path.Length;)
        {
            int start = end;
            while (end < path.Length && path[end] == '/')
                end++;
            int nameAt = end;
            while (end < path.Length && path[end] != '/')
                end++;
            ReadOnlySpan<byte> last = path.AsSpan(nameAt..end);
            if (last.IsEmpty || last.Length > EntryPath.MaxComponentBytes)
                continue;
            using Descriptor parent = OpenInRoot(path.AsSpan(0, start));
            if (parent >= 0)
                _ = Libc.mkdirat(parent, EntryPath.Terminate(last, new byte[EntryPath.MaxComponentBytes + 1]), 0b111_101_101);
        }
    }

    private int OpenInRoot(ReadOnlySpan<byte> path) =>
        Libc.OpenAt2(_root, path.IsEmpty ? "/\0"u8 : [.. path, 0], Libc.O_PATH | Processor.O_DIRECTORY | Libc.O_CLOEXEC, Resolve);

    private SparkException Refused(int errno) => _reader.Refused(SparkException.KindOf(errno), Libc.Describe(errno), errno);
}
