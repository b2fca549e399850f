using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Writes an entry's data to its file.</summary>
internal static unsafe class FileWriter
{
    public static void Write(int fd, TarReader reader)
    {
        if (reader.Entry.IsSparse)
        {
            WriteSparse(fd, reader);
            return;
        }

        while (reader.DataLeft > 0)
            WriteAll(fd, reader.TakeData(long.MaxValue), reader);
    }

    /// <returns>Whether all was written; if not, there is an error number.</returns>
    public static bool TryWrite(int fd, ReadOnlySpan<byte> data)
    {
        fixed (byte* start = data)
        {
            for (int done = 0; done < data.Length;)
            {
                nint written = Libc.write(fd, start + done, (nuint)(data.Length - done));
                if (written >= 0)
                    done += (int)written;
                else if (Libc.Errno != Libc.EINTR)
                    return false;
            }
        }

        return true;
    }

    /// <summary>What an error message says when data could not be written.</summary>
    public static string Describe(int errno) => $"cannot write its data: {Libc.Describe(errno)}";

    private static void WriteSparse(int fd, TarReader reader)
    {
        foreach ((long offset, long length) in reader.Entry.Segments)
        {
            if (Libc.lseek(fd, offset, 0) != offset)
                throw Refused(reader);
            for (long left = length; left > 0;)
            {
                ReadOnlySpan<byte> data = reader.TakeData(left);
                WriteAll(fd, data, reader);
                left -= data.Length;
            }
        }

        if (Libc.ftruncate(fd, reader.Entry.FileBytes) != 0)
            throw Refused(reader);
    }

    private static void WriteAll(int fd, ReadOnlySpan<byte> data, TarReader reader)
    {
        if (!TryWrite(fd, data))
            throw Refused(reader);
    }

    private static SparkException Refused(TarReader reader)
    {
        int errno = Libc.Errno;
        return reader.Refused(SparkException.KindOf(errno), Describe(errno), errno);
    }
}
