using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Tar;

/// <summary>Where a sparse file's data go, in the four ways that GNU tar has written it.</summary>
/// <remarks>https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html</remarks>
internal sealed class SparseMapReader(TarInput input)
{
    private const int MaxSegments = 1 << 20;
    private const int OldSegmentBytes = 24;

    private readonly List<(long Offset, long Length)> _segments = [];
    private long _realSize = -1;
    private long _major;
    private long _pendingOffset = -1;
    private bool _mapInData;

    public bool IsSparse { get; private set; }

    /// <summary>Whether the map's record names the file. Its path is then for programs without sparse files.</summary>
    public bool HasName { get; private set; }

    public void Clear()
    {
        _segments.Clear();
        _realSize = -1;
        _major = 0;
        _pendingOffset = -1;
        _mapInData = false;
        IsSparse = false;
        HasName = false;
    }

    /// <summary>GNU's own format: four segments in the header, the others in blocks behind it.</summary>
    public void ReadOldSegments(TarHeader header, TarReader reader)
    {
        IsSparse = true;
        _realSize = reader.Number(header.RealSize, "real size");
        AddOld(header.SparseSegments, reader);
        bool more = header.MoreSegments;
        while (more)
        {
            ReadOnlySpan<byte> block = input.Take(TarInput.BlockBytes);
            if (block.Length < TarInput.BlockBytes)
                throw reader.Malformed("the archive is cut off");
            AddOld(block[..504], reader);
            more = block[504] != 0;
        }
    }

    /// <summary>Takes a record of a pax header, without its <c>GNU.sparse.</c>.</summary>
    public void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, TarReader reader)
    {
        IsSparse = true;
        if (key.SequenceEqual("name"u8))
        {
            reader.Entry.Name.Set(reader.Text(value));
            HasName = true;
        }
        else if (key.SequenceEqual("size"u8) || key.SequenceEqual("realsize"u8))
        {
            _realSize = reader.Decimal(value, "real size");
        }
        else if (key.SequenceEqual("major"u8))
        {
            _major = reader.Decimal(value, "sparse version");
            _mapInData = _major == 1;
            if (_major > 1)
                throw reader.Malformed($"its sparse format {_major} is unknown");
        }
        else if (key.SequenceEqual("offset"u8))
        {
            _pendingOffset = reader.Decimal(value, "sparse map");
        }
        else if (key.SequenceEqual("numbytes"u8))
        {
            AddSegment(_pendingOffset, reader.Decimal(value, "sparse map"), reader);
            _pendingOffset = -1;
        }
        else if (key.SequenceEqual("map"u8))
        {
            AddMap(value, reader);
        }
    }

    /// <summary>Reads the map that stands before the data in version 1.0.</summary>
    /// <returns>How many bytes it takes.</returns>
    public long ReadSegments(long size, TarReader reader)
    {
        if (!_mapInData)
            return 0;

        _segments.Clear();
        var numbers = new MapNumbers(input, size, reader);
        long count = numbers.Next();
        if (count > MaxSegments)
            throw TooMany(reader);
        for (long i = 0; i < count; i++)
            AddSegment(numbers.Next(), numbers.Next(), reader);
        return numbers.Taken;
    }

    /// <summary>Checks the map and hands it to the entry.</summary>
    /// <returns>The file's size.</returns>
    public long CheckedSize(TarEntry entry, TarReader reader)
    {
        if (_realSize < 0)
            throw reader.Malformed("it is sparse, but has no real size");
        long end = 0, data = 0;
        entry.Segments.Clear();
        foreach ((long offset, long length) in _segments)
        {
            if (offset < end || length < 0 || offset > _realSize || length > _realSize - offset)
                throw reader.Malformed($"its sparse map is wrong: {length} bytes at {offset} of {_realSize}, after {end}");
            end = offset + length;
            data += length;
            entry.Segments.Add((offset, length));
        }

        return data == entry.DataBytes ? _realSize : throw reader.Malformed($"its sparse map has {data} bytes, the archive {entry.DataBytes}");
    }

    private static SparkException TooMany(TarReader reader) =>
        reader.Refused(SparkFailureKind.Limit, $"its sparse map has more than {MaxSegments} segments");

    private void AddOld(ReadOnlySpan<byte> segments, TarReader reader)
    {
        for (; segments.Length >= OldSegmentBytes; segments = segments[OldSegmentBytes..])
        {
            // An unused one ends the list.
            if (segments[0] == 0)
                return;
            AddSegment(reader.Number(segments[..12], "sparse map"), reader.Number(segments[12..24], "sparse map"), reader);
        }
    }

    private void AddMap(ReadOnlySpan<byte> map, TarReader reader)
    {
        _segments.Clear();
        while (!map.IsEmpty)
        {
            long offset = reader.Decimal(EntryPath.TakeFirst(ref map, (byte)','), "sparse map");
            AddSegment(offset, reader.Decimal(EntryPath.TakeFirst(ref map, (byte)','), "sparse map"), reader);
        }
    }

    private void AddSegment(long offset, long length, TarReader reader)
    {
        if (_segments.Count == MaxSegments)
            throw TooMany(reader);
        if (offset < 0 || length < 0)
            throw reader.Malformed($"its sparse map is wrong: {length} bytes at {offset}");
        _segments.Add((offset, length));
    }

    /// <summary>Decimal numbers, one a line, in whole blocks.</summary>
    private ref struct MapNumbers(TarInput input, long size, TarReader reader)
    {
        private ReadOnlySpan<byte> _block;

        public long Taken { get; private set; }

        public long Next()
        {
            long value = 0;
            for (int digits = 0; ; digits++)
            {
                if (_block.IsEmpty)
                    Refill();
                byte digit = _block[0];
                _block = _block[1..];
                if (digit == '\n' && digits > 0)
                    return value;
                if (digit is < (byte)'0' or > (byte)'9' || digits > 18)
                    throw reader.Malformed("its sparse map is no list of numbers");
                value = value * 10 + (digit - '0');
            }
        }

        private void Refill()
        {
            if (size - Taken < TarInput.BlockBytes)
                throw reader.Malformed("its sparse map is longer than its data");
            _block = input.Take(TarInput.BlockBytes);
            if (_block.Length < TarInput.BlockBytes)
                throw reader.Malformed("the archive is cut off");
            Taken += TarInput.BlockBytes;
        }
    }
}
