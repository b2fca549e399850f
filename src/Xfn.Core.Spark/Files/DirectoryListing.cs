using System.Buffers.Binary;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Files;

/// <summary>Names in a directory, some at a time.</summary>
internal sealed class DirectoryListing
{
    private const int HeaderBytes = 19;

    private readonly byte[] _buffer = new byte[64 << 10];
    private int _length;
    private int _at;

    /// <summary>Reads names from where the directory's descriptor stands.</summary>
    /// <returns>Whether there are any.</returns>
    public bool Read(int directory)
    {
        nint read = Libc.getdents64(directory, _buffer, (nuint)_buffer.Length);
        if (read < 0)
            throw SparkException.FromErrno("cannot list a directory");
        _length = (int)read;
        _at = 0;
        return read > 0;
    }

    /// <summary>Takes the next name that was read, with a NUL behind it; never <c>.</c> or <c>..</c>.</summary>
    public bool TryTake(out ReadOnlySpan<byte> terminatedName)
    {
        while (_at < _length)
        {
            ReadOnlySpan<byte> record = _buffer.AsSpan(_at, BinaryPrimitives.ReadUInt16LittleEndian(_buffer.AsSpan(_at + 16)));
            _at += record.Length;
            terminatedName = record[HeaderBytes..];
            terminatedName = terminatedName[..(terminatedName.IndexOf((byte)0) + 1)];
            if (!terminatedName.SequenceEqual(".\0"u8) && !terminatedName.SequenceEqual("..\0"u8))
                return true;
        }

        terminatedName = default;
        return false;
    }

    /// <summary>Takes the next of all names, and reads when there are none left of those that were read.</summary>
    public bool TryTake(int directory, out ReadOnlySpan<byte> terminatedName)
    {
        while (!TryTake(out terminatedName))
        {
            if (!Read(directory))
                return false;
        }

        return true;
    }
}
