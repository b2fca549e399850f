using Xfn.Core.Spark.Interop;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Copies a file that is no directory, with all that it has.</summary>
internal static unsafe class FileCopier
{
    public static void Copy(int fromParent, byte* fromName, int toParent, byte* toName, in Libc.FileStatus status)
    {
        Libc.TimeSpec* times = stackalloc Libc.TimeSpec[2];
        times[0] = times[1] = new Libc.TimeSpec { Seconds = status.ModifiedSeconds, Nanoseconds = status.ModifiedNanoseconds };
        if (status.Type == Libc.S_IFREG)
        {
            CopyRegular(fromParent, fromName, toParent, toName, status, times);
            return;
        }

        int result;
        if (status.Type == Libc.S_IFLNK)
        {
            const int most = 4096;
            byte* target = stackalloc byte[most];
            nint length = Libc.readlinkat(fromParent, fromName, target, most - 1);
            if (length < 0)
                throw Refused(fromName);
            target[length] = 0;
            result = Libc.symlinkat(target, toParent, toName);
        }
        else
        {
            result = Libc.mknodat(toParent, toName, status.Type | 0b110_000_000, 0);
        }

        // Owner first: changing it clears setuid bits. What chmod is used on was just made, and is no link.
        if (result != 0
            || Libc.fchownat(toParent, toName, status.Uid, status.Gid, Libc.AT_SYMLINK_NOFOLLOW) != 0
            || status.Type != Libc.S_IFLNK && Libc.fchmodat(toParent, toName, status.Permissions, 0) != 0
            || Libc.utimensat(toParent, toName, times, Libc.AT_SYMLINK_NOFOLLOW) != 0)
            throw Refused(fromName);
    }

    private static void CopyRegular(int fromParent, byte* fromName, int toParent, byte* toName, in Libc.FileStatus status, Libc.TimeSpec* times)
    {
        int from = Libc.openat(fromParent, fromName, Libc.O_RDONLY | Libc.O_NOFOLLOW | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0);
        if (from < 0)
            throw Refused(fromName);
        int to = -1;
        try
        {
            to = Libc.openat(toParent, toName, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, 0b110_000_000);
            if (to < 0)
                throw Refused(fromName);
            CopyData(from, to, (long)status.Size, fromName);
            if (Libc.fchown(to, status.Uid, status.Gid) != 0 || Libc.fchmod(to, status.Permissions) != 0)
                throw Refused(fromName);
            ExtendedAttributes.Copy(from, to);
            if (Libc.futimens(to, times) != 0)
                throw Refused(fromName);
        }
        finally
        {
            _ = Libc.close(from);
            if (to >= 0)
                _ = Libc.close(to);
        }
    }

    /// <summary>Copies segments of data and leaves holes holes; shares blocks where the file system can.</summary>
    private static void CopyData(int from, int to, long size, byte* name)
    {
        const int seekData = 3, seekHole = 4;
        for (long at = 0; at < size;)
        {
            long data = Libc.lseek(from, at, seekData);
            if (data < 0)
                break;
            long hole = Libc.lseek(from, data, seekHole);
            if (hole < 0)
                throw Refused(name);
            CopyRange(from, to, data, hole, name);
            at = hole;
        }

        if (Libc.ftruncate(to, size) != 0)
            throw Refused(name);
    }

    private static void CopyRange(int from, int to, long start, long end, byte* name)
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

    private static void CopyByHand(int from, int to, long at, long end, byte* name)
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

    private static SparkException Refused(byte* name) =>
        SparkException.FromErrno($"cannot copy '{ByteText.Show(System.Runtime.InteropServices.MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name))}'");
}
