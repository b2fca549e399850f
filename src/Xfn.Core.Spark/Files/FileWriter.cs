using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Writes an entry's data to its file.</summary>
internal static class FileWriter
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
        if (!Libc.TryWriteAll(fd, data))
            throw Refused(reader);
    }

    private static SparkException Refused(TarReader reader)
    {
        int errno = Libc.Errno;
        return reader.Refused(SparkException.KindOf(errno), Describe(errno), errno);
    }
}
