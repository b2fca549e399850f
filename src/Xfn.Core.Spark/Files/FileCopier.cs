using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Copies a file that is no directory, with all that it has.</summary>
internal static unsafe class FileCopier
{
    public static void Copy(int fromParent, ReadOnlySpan<byte> name, int toParent, in Libc.FileStatus status)
    {
        if (status.Type == Libc.S_IFREG)
        {
            CopyRegular(fromParent, name, toParent, status);
            return;
        }

        int result;
        if (status.Type == Libc.S_IFLNK)
        {
            Span<byte> target = stackalloc byte[4096];
            nint length = Libc.readlinkat(fromParent, name, target, (nuint)target.Length - 1);
            if (length < 0)
                throw Refused(name);
            target[(int)length] = 0;
            result = Libc.symlinkat(target, toParent, name);
        }
        else
        {
            result = Libc.mknodat(toParent, name, status.Type | 0b110_000_000, 0);
        }

        // Owner first: changing it clears setuid bits. What chmod is used on was just made, and is no link.
        if (result != 0
            || Libc.fchownat(toParent, name, status.Uid, status.Gid, Libc.AT_SYMLINK_NOFOLLOW) != 0
            || status.Type != Libc.S_IFLNK && Libc.fchmodat(toParent, name, status.Permissions, 0) != 0
            || Libc.utimensat(toParent, name, status.Modified) != 0)
            throw Refused(name);
    }

    private static void CopyRegular(int fromParent, ReadOnlySpan<byte> name, int toParent, in Libc.FileStatus status)
    {
        using Descriptor from = Libc.openat(fromParent, name, Libc.O_RDONLY | Processor.O_NOFOLLOW | Libc.O_NONBLOCK | Libc.O_CLOEXEC);
        if (from < 0)
            throw Refused(name);
        using Descriptor to = Libc.openat(toParent, name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, 0b110_000_000);
        if (to < 0)
            throw Refused(name);
        CopyData(from, to, (long)status.Size, name);
        if (Libc.fchown(to, status.Uid, status.Gid) != 0 || Libc.fchmod(to, status.Permissions) != 0)
            throw Refused(name);
        ExtendedAttributes.Copy(from, to);
        if (Libc.futimens(to, status.Modified) != 0)
            throw Refused(name);
    }

    /// <summary>Copies segments of data and leaves holes holes; shares blocks where the file system can.</summary>
    private static void CopyData(int from, int to, long size, ReadOnlySpan<byte> name)
    {
        for (long at = 0; at < size;)
        {
            long data = Libc.lseek(from, at, Libc.SEEK_DATA);
            if (data < 0)
                break;
            long hole = Libc.lseek(from, data, Libc.SEEK_HOLE);
            if (hole < 0)
                throw Refused(name);
            CopyRange(from, to, data, hole, name);
            at = hole;
        }

        if (Libc.ftruncate(to, size) != 0)
            throw Refused(name);
    }

    private static void CopyRange(int from, int to, long start, long end, ReadOnlySpan<byte> name)
    {
        long input = start, output = start;
        while (input < end)
        {
            nint copied = Libc.copy_file_range(from, &input, to, &output, (nuint)Math.Min(end - input, 1 << 30), 0);
            if (copied == 0)
                return;
            if (copied > 0 || Libc.Errno == Libc.EINTR)
                continue;
            // Refused between some kinds of file systems.
            CopyByHand(from, to, input, end, name);
            return;
        }
    }

    private static void CopyByHand(int from, int to, long at, long end, ReadOnlySpan<byte> name)
    {
        var buffer = new byte[128 << 10];
        if (Libc.lseek(from, at, 0) != at)
            throw Refused(name);
        fixed (byte* b = buffer)
        {
            while (at < end)
            {
                nint read = Libc.read(from, b, (nuint)Math.Min(buffer.Length, end - at));
                if (read == 0)
                    return;
                if (read < 0)
                    throw Refused(name);
                for (nint done = 0; done < read;)
                {
                    nint written = Libc.pwrite(to, b + done, (nuint)(read - done), at + done);
                    if (written < 0)
                        throw Refused(name);
                    done += written;
                }

                at += read;
            }
        }
    }

    private static SparkException Refused(ReadOnlySpan<byte> terminated) => SparkException.FromErrno($"cannot copy '{ByteText.ShowName(terminated)}'");
}
