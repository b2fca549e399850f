using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Makes an archive of a tree that others may change meanwhile. It opens regular files and directories only,
/// and follows no link below the place where it starts.</summary>
internal sealed unsafe class TreeArchiver
{
    private const int BufferBytes = 256 << 10;

    /// <summary>Those that show the kernel's own state, which a program copies by mistake: proc, sysfs, both cgroups,
    /// devpts, mqueue, and what debugging mounts.</summary>
    private static readonly long[] KernelFileSystems =
        [0x9fa0, 0x62656572, 0x27e0eb, Libc.CGROUP2_SUPER_MAGIC, 0x1cd1, 0x19800202, 0x64626720, 0x74726163, 0x73636673, 0x6e736673, 0xcafe4a11];

    private readonly SparkCopyOut _request;
    private readonly TarWriter _writer;
    private readonly ReopenedFiles _reopened;
    private readonly UnpackWarnings _warnings = new();
    private readonly byte[] _buffer = new byte[BufferBytes];
    private readonly byte[] _name;
    private readonly Stack<byte[]> _directories = [];
    private long _entries;
    private long _bytes;

    private TreeArchiver(SparkCopyOut request, TarWriter writer, ReopenedFiles reopened)
    {
        (_request, _writer, _reopened) = (request, writer, reopened);
        var path = new GrowingBytes();
        EntryPath.Clean(Encoding.UTF8.GetBytes(request.Path), path);
        _name = path.Length == 0 ? [(byte)'.'] : EntryPath.Name(path.Span).ToArray();
    }

    /// <summary>Writes an archive.</summary>
    /// <param name="root">The root that the request's path starts from.</param>
    /// <param name="request">What to copy, and how much at most.</param>
    /// <param name="archive">Where to write it.</param>
    /// <param name="reopened">Opens what was found.</param>
    public static SparkCopied Write(int root, SparkCopyOut request, int archive, ReopenedFiles reopened) =>
        new TreeArchiver(request, new TarWriter(archive), reopened).Run(root);

    private SparkCopied Run(int root)
    {
        using Descriptor start = Libc.OpenAt2(root, Encoding.UTF8.GetBytes(_request.Path + '\0'), Libc.O_PATH | Libc.O_CLOEXEC, Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS);
        if (start < 0)
            throw SparkException.FromErrno($"cannot copy '{_request.Path}' from the container", -start);
        if (Libc.Status(start, out Libc.FileStatus status) != 0)
            throw SparkException.FromErrno($"cannot look at '{_request.Path}' in the container");
        if (status.Type == Libc.S_IFREG)
            AddFile(start, [], status);
        else if (status.Type != Libc.S_IFDIR)
            throw new SparkException(SparkFailureKind.Environment, $"cannot copy '{_request.Path}' from the container: it is neither a file nor a directory");
        else if (IsKernels(start))
            throw new SparkException(SparkFailureKind.Environment, $"cannot copy '{_request.Path}' from the container: it is the kernel's own");
        else
            _directories.Push([]);
        while (_directories.TryPop(out byte[]? directory))
            AddDirectory(start, directory);
        _writer.End();
        return new SparkCopied(_request.Id, _entries, _bytes, _warnings.ToLines());
    }

    private void AddDirectory(int start, byte[] path)
    {
        const ulong resolve = Libc.RESOLVE_BENEATH | Libc.RESOLVE_NO_SYMLINKS | Libc.RESOLVE_NO_MAGICLINKS;
        byte[] where = path.Length == 0 ? ".\0"u8.ToArray() : [.. path, 0];
        using Descriptor directory = Libc.OpenAt2(start, where, Libc.O_RDONLY | Processor.O_DIRECTORY | Processor.O_NOFOLLOW | Libc.O_CLOEXEC, resolve);
        if (directory < 0 || Libc.Status(directory, out Libc.FileStatus status) != 0)
        {
            Missed(path, directory < 0 ? -directory : Libc.Errno);
            return;
        }

        bool isKernels = IsKernels(directory);
        Begin(TarWriter.Directory, path, default, status, 0);
        if (isKernels)
        {
            _warnings.LeftOut(Named(path), "a file system of the kernel's own");
            return;
        }

        var listing = new DirectoryListing();
        while (listing.TryTake(directory, out ReadOnlySpan<byte> name))
            Add(directory, name, Directories.Join(path, name[..^1]));
    }

    private void Add(int directory, ReadOnlySpan<byte> name, byte[] path)
    {
        using Descriptor file = Libc.openat(directory, name, Libc.O_PATH | Processor.O_NOFOLLOW | Libc.O_CLOEXEC);
        if (file < 0 || Libc.Status(file, out Libc.FileStatus status) != 0)
        {
            Missed(path, Libc.Errno);
            return;
        }

        switch (status.Type)
        {
            case Libc.S_IFDIR:
                _directories.Push(path);
                CheckEntries(path, _entries + _directories.Count);
                break;
            case Libc.S_IFREG:
                AddFile(file, path, status);
                break;
            case Libc.S_IFLNK:
                Span<byte> target = stackalloc byte[4096];
                nint length = Libc.readlinkat(file, "\0"u8, target, (nuint)target.Length);
                if (length < 0)
                    throw SparkException.FromErrno($"cannot read link '{Shown(path)}' in the container");
                Begin(TarWriter.SymbolicLink, path, target[..(int)length], status, 0);
                break;
            default:
                _warnings.LeftOut(Named(path), "neither a file nor a directory nor a link");
                break;
        }
    }

    private void AddFile(int found, byte[] path, in Libc.FileStatus status)
    {
        using Descriptor file = _reopened.Open(found, Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_CLOEXEC);
        if (file < 0)
            throw SparkException.FromErrno($"cannot read '{Shown(path)}' in the container", -file);
        long size = (long)status.Size;
        if (size > _request.MaxBytes - _bytes)
            throw new SparkException(SparkFailureKind.Limit, $"cannot copy '{Shown(path)}' from the container: with its {size} bytes the copy has more than {_request.MaxBytes}");
        _bytes += size;
        Begin(TarWriter.File, path, default, status, size);

        // Its size was announced: what was added since is left out, and what was taken away is zeros.
        for (long left = size; left > 0;)
        {
            nint read;
            fixed (byte* buffer = _buffer)
                read = Libc.read(file, buffer, (nuint)Math.Min(left, _buffer.Length));
            if (read < 0 && Libc.Errno == Libc.EINTR)
                continue;
            if (read < 0)
                throw SparkException.FromErrno($"cannot read '{Shown(path)}' in the container");
            if (read == 0)
            {
                _warnings.Changed(Named(path));
                read = (nint)Math.Min(left, _buffer.Length);
                Array.Clear(_buffer);
            }

            _writer.WriteData(_buffer.AsSpan(0, (int)read));
            left -= read;
        }

        _writer.EndData(size);
    }

    private void Begin(byte type, byte[] path, ReadOnlySpan<byte> link, in Libc.FileStatus status, long size)
    {
        CheckEntries(path, ++_entries);
        byte[] name = Named(path);
        _writer.WriteEntry(type, type == TarWriter.Directory ? [.. name, (byte)'/'] : name, link, status, size);
    }

    private void CheckEntries(byte[] path, long entries)
    {
        if (entries > _request.MaxEntries)
            throw new SparkException(SparkFailureKind.Limit, $"cannot copy '{Shown(path)}' from the container: with it the copy has more than {_request.MaxEntries} entries");
    }

    /// <summary>Says that something was removed, or made something else, since its directory was listed.</summary>
    private void Missed(byte[] path, int errno)
    {
        if (errno is not (Libc.ENOENT or Libc.ENOTDIR or Libc.ELOOP))
            throw SparkException.FromErrno($"cannot open '{Shown(path)}' in the container", errno);
        _warnings.Changed(Named(path));
    }

    private byte[] Named(byte[] path) => path.Length == 0 ? _name : Directories.Join(_name, path);

    private string Shown(byte[] path) => ByteText.Show(Named(path));

    private static bool IsKernels(int directory) => Libc.fstatfs(directory, out Libc.FileSystemStatus status) == 0 && KernelFileSystems.Contains(status.Type);
}
