using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Deletes trees, however deep, whatever their modes, and never through a link.</summary>
/// <remarks>One descriptor is open: it goes down by name, up by <c>..</c>, and checks where it came to.</remarks>
internal sealed class TreeRemover
{
    private readonly DirectoryListing _listing = new();
    private readonly Stack<Level> _levels = new();
    private int _at = -1;
    private long _bytes;

    /// <summary>Deletes a file, or a directory with all that is in it. It is no error when there is none.</summary>
    /// <returns>How many bytes of the disk that freed; none for a file that has another name elsewhere.</returns>
    public static long Remove(int directoryFd, ReadOnlySpan<byte> name)
    {
        byte[] terminated = [.. name, 0];
        var remover = new TreeRemover();
        if (!remover.TryUnlink(directoryFd, terminated, out bool missing) && !missing)
            remover.RemoveDirectory(directoryFd, terminated);
        return remover._bytes;
    }

    private void RemoveDirectory(int parentFd, byte[] name)
    {
        try
        {
            Descend(parentFd, name);
            while (_levels.TryPeek(out Level? level))
            {
                if (level.Subdirectories.TryPop(out byte[]? subdirectory))
                    Descend(_at, subdirectory);
                else if (!RemoveNames(level))
                    Ascend(parentFd);
            }
        }
        finally
        {
            CloseCurrent();
        }
    }

    /// <summary>Deletes what can be deleted at once, and remembers the directories that are not empty.</summary>
    /// <returns>Whether there was anything.</returns>
    private bool RemoveNames(Level level)
    {
        bool any = false;
        _ = Libc.lseek(_at, 0, 0);
        if (_listing.Read(_at))
        {
            while (_listing.TryTake(out ReadOnlySpan<byte> name))
            {
                any = true;
                if (!TryUnlink(_at, name, out bool missing) && !missing)
                    level.Subdirectories.Push(name.ToArray());
            }
        }

        return any;
    }

    private void Descend(int parent, byte[] name)
    {
        int fd = Open(parent, name);
        if (fd < 0)
            throw SparkException.FromErrno($"cannot open directory '{ByteText.ShowName(name)}' to delete it");
        CloseCurrent();
        _at = fd;
        if (Libc.Status(fd, out Libc.FileStatus status) != 0)
            throw SparkException.FromErrno("cannot look at a directory to delete it");
        _levels.Push(new Level(name, status.Inode));
    }

    private void Ascend(int parentFd)
    {
        Level done = _levels.Pop();
        int up = parentFd;
        if (_levels.TryPeek(out Level? above))
        {
            up = Open(_at, ".."u8);
            CloseCurrent();
            _at = up;
            if (up < 0 || Libc.Status(up, out Libc.FileStatus status) != 0 || status.Inode != above.Inode)
                throw new SparkException(SparkFailureKind.Environment, $"cannot delete '{ByteText.ShowName(done.Name)}': it was moved meanwhile");
        }
        else
        {
            CloseCurrent();
        }

        if (!TryUnlink(up, done.Name, out bool missing) && !missing)
            throw new SparkException(SparkFailureKind.Environment, $"cannot delete directory '{ByteText.ShowName(done.Name)}': it is not empty", Libc.ENOTEMPTY);
    }

    private void CloseCurrent()
    {
        if (_at >= 0)
            _ = Libc.close(_at);
        _at = -1;
    }

    private static int Open(int parent, ReadOnlySpan<byte> terminated)
    {
        int fd = Libc.OpenDirectory(parent, terminated);
        if (fd >= 0 || Libc.Errno != Libc.EACCES)
            return fd;

        // Without capabilities even an owner may not list mode 0. chmod follows no link, as this is a directory.
        return Libc.Status(parent, terminated, out Libc.FileStatus status) == 0 && status.Type == Libc.S_IFDIR && Libc.fchmodat(parent, terminated, 0b111_000_000, 0) == 0
            ? Libc.OpenDirectory(parent, terminated)
            : -1;
    }

    /// <summary>Deletes a file or an empty directory.</summary>
    /// <returns>False when it is a directory that is not empty, or when it is missing.</returns>
    private bool TryUnlink(int parent, ReadOnlySpan<byte> terminated, out bool missing)
    {
        missing = false;

        // What cannot be looked at counts for nothing; why not is told by what fails next.
        long bytes = Libc.Status(parent, terminated, out Libc.FileStatus status) == 0 && (status.Links <= 1 || status.Type == Libc.S_IFDIR) ? status.DiskBytes : 0;
        for (bool writable = false; ; writable = true)
        {
            int errno = Libc.unlinkat(parent, terminated, 0) == 0 ? 0 : Libc.Errno;
            if (errno is Libc.EISDIR or Libc.EPERM)
            {
                // EPERM can also be an immutable file; then it is no directory.
                int kept = errno;
                errno = Libc.unlinkat(parent, terminated, Libc.AT_REMOVEDIR) == 0 ? 0 : Libc.Errno;
                errno = errno == Libc.ENOTDIR ? kept : errno;
            }

            switch (errno)
            {
                case 0:
                    _bytes += bytes;
                    return true;
                case Libc.ENOTEMPTY or Libc.EEXIST:
                    return false;
                case Libc.ENOENT:
                    missing = true;
                    return false;
                case Libc.EACCES when !writable && MakeWritable(parent):
                    break;
                default:
                    throw SparkException.FromErrno($"cannot delete '{ByteText.ShowName(terminated)}'", errno);
            }
        }
    }

    private static bool MakeWritable(int directory) => Libc.fchmod(directory, 0b111_000_000) == 0 || Libc.fchmodat(directory, "."u8, 0b111_000_000, 0) == 0;

    private sealed record Level(byte[] Name, ulong Inode)
    {
        public Stack<byte[]> Subdirectories { get; } = new();
    }
}
