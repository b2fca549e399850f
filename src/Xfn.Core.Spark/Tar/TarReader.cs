using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Tar;

/// <summary>Reads an archive entry by entry: v7, ustar, pax and GNU's formats, as they come mixed in images.</summary>
/// <param name="input">The archive.</param>
/// <param name="subject">What an entry is called in errors.</param>
internal sealed class TarReader(TarInput input, string subject = "layer entry")
{
    /// <summary>The most bytes of a pax header or a long name. A longer one is made to exhaust memory: the kernel takes
    /// names of 4 KiB and attributes of 64 KiB.</summary>
    public const int MaxExtensionBytes = 1 << 20;

    // Every entry reads them again: a little archive of many entries and many such records would take hours.
    private const int MaxGlobalBytes = 16 << 10;

    private readonly GrowingBytes _globalRecords = new();
    private readonly GrowingBytes _localRecords = new();
    private readonly GrowingBytes _longName = new();
    private readonly GrowingBytes _longLinkName = new();
    private readonly SparseMapReader _sparse = new(input);
    private bool _hasPath;
    private bool _hasLinkPath;

    /// <summary>The current entry.</summary>
    public TarEntry Entry { get; } = new();

    /// <summary>Bytes of the current entry's data that were not taken yet.</summary>
    public long DataLeft { get; private set; }

    /// <summary>Goes to the next entry, over what is left of the current one.</summary>
    /// <returns>Whether there is one.</returns>
    public bool Next()
    {
        SkipData();
        _localRecords.Clear();
        _longName.Clear();
        _longLinkName.Clear();
        bool extended = false;
        while (true)
        {
            Entry.Offset = input.Offset;
            Entry.Name.Clear();
            ReadOnlySpan<byte> block = input.Take(TarInput.BlockBytes);
            if (block.IsEmpty && !extended)
                return false;
            if (block.Length < TarInput.BlockBytes)
                throw Truncated();

            var header = new TarHeader(block);
            if (header.IsZero)
                return extended ? throw Malformed("the archive ends after an extended header") : ReadEnd();
            if (!header.HasValidChecksum)
                throw Malformed(input.Offset <= TarInput.BlockBytes ? "it is no tar archive" : "the header's checksum is wrong");
            if (!TarNumber.TryReadField(header.Size, out long size) || size < 0)
                throw Malformed("the header's size is no number of bytes");

            extended = true;
            switch (header.Type)
            {
                case (byte)'x':
                    ReadExtension(_localRecords, size);
                    break;
                case (byte)'g':
                    ReadGlobalRecords(size);
                    break;
                case (byte)'L':
                    ReadName(_longName, size);
                    break;
                case (byte)'K':
                    ReadName(_longLinkName, size);
                    break;
                default:
                    ReadEntry(header, size);
                    return true;
            }
        }
    }

    /// <summary>Takes as much of the entry's data as is at hand; none when all is taken.</summary>
    public ReadOnlySpan<byte> TakeData(long most)
    {
        most = Math.Min(most, DataLeft);
        if (most == 0)
            return default;
        ReadOnlySpan<byte> taken = input.TakeSome(most);
        if (taken.IsEmpty)
            throw Truncated();
        DataLeft -= taken.Length;
        return taken;
    }

    /// <summary>Reads what stands behind the archive's end, so that the writer need not stop before it.</summary>
    public void Drain()
    {
        while (!input.TakeSome(long.MaxValue).IsEmpty)
        {
        }
    }

    public SparkException Malformed(string found) => Refused(SparkFailureKind.Image, found);

    public SparkException Refused(SparkFailureKind kind, string found, int errno = 0, uint id = 0) => Refused(Entry.Name.Span, Entry.Offset, kind, found, errno, id);

    /// <summary>The same of an entry that was read before.</summary>
    public SparkException Refused(ReadOnlySpan<byte> name, long offset, SparkFailureKind kind, string found, int errno = 0, uint id = 0) =>
        new(kind, $"cannot unpack {subject} '{ByteText.Show(name)}' at byte {offset}: {found}", errno, id);

    /// <summary>A limit that is an option of the runner.</summary>
    public SparkException OverLimit(string found, string option) =>
        Refused(SparkFailureKind.Limit, $"{found}. If it is to be trusted, raise the limit (option UnpackLimits:{option})");

    private SparkException Truncated() => Malformed("the archive is cut off");

    private bool ReadEnd()
    {
        ReadOnlySpan<byte> second = input.Take(TarInput.BlockBytes);
        return second.IsEmpty || second.Length == TarInput.BlockBytes && new TarHeader(second).IsZero
            ? false
            : throw Malformed("a block of zeros stands between entries");
    }

    private void ReadEntry(TarHeader header, long size)
    {
        TarEntry entry = Entry;
        ReadOnlySpan<byte> prefix = header.Prefix;
        entry.Name.Set(prefix);
        if (!prefix.IsEmpty)
            entry.Name.Append((byte)'/');
        entry.Name.Append(header.Name);
        entry.LinkName.Set(header.LinkName);
        entry.Mode = (uint)Number(header.Mode, "mode") & 0xFFF;
        long uid = Number(header.Uid, "owner");
        long gid = Number(header.Gid, "group");
        entry.ModifiedSeconds = Time(header.Modified);
        entry.ModifiedNanoseconds = 0;
        entry.Attributes.Clear();
        entry.PaxRecords.Clear();
        _sparse.Clear();
        _hasPath = _hasLinkPath = false;

        byte type = header.Type;
        if (type is (byte)'3' or (byte)'4' && (Number(header.DeviceMajor, "device number") is < 0 or > uint.MaxValue || Number(header.DeviceMinor, "device number") is < 0 or > uint.MaxValue))
            throw Malformed("the header's device number is none");
        if (type == 'S')
            _sparse.ReadOldSegments(header, this);

        if (_globalRecords.Length + _localRecords.Length > 0)
        {
            entry.PaxRecords.Set(_globalRecords.Span);
            entry.PaxRecords.Append(_localRecords.Span);
            ApplyRecords(ref size, ref uid, ref gid);
        }

        SetLong(entry.Name, _longName, _hasPath || _sparse.HasName);
        SetLong(entry.LinkName, _longLinkName, _hasLinkPath);
        entry.Kind = KindOf(type);
        entry.Uid = Id(uid, "owner");
        entry.Gid = Id(gid, "group");
        DataLeft = size;
        _padding = (int)(-size & (TarInput.BlockBytes - 1));
        entry.IsSparse = entry.Kind == TarEntryKind.File && _sparse.IsSparse;
        entry.DataBytes = entry.FileBytes = size;
        if (entry.IsSparse)
        {
            DataLeft -= _sparse.ReadSegments(size, this);
            entry.DataBytes = DataLeft;
            entry.FileBytes = _sparse.CheckedSize(entry, this);
        }
        else if (entry.Kind != TarEntryKind.File && size > 0 && IsHeaderOrEnd(input.Peek(TarInput.BlockBytes)))
        {
            // Some programs write a size without data. To skip it would swallow entries; not to skip it would take data
            // for entries, or for the archive's end.
            throw Malformed($"it has {size} bytes of data, but is none that has data, and what follows is a header or the end");
        }
    }

    /// <summary>Of a name in GNU's format and one in pax's GNU tar takes this, others that.</summary>
    private void SetLong(GrowingBytes name, GrowingBytes longName, bool hasPax)
    {
        if (longName.Length == 0)
            return;
        if (hasPax && !name.Span.SequenceEqual(longName.Span))
            throw Malformed($"a long name says '{ByteText.Show(longName.Span)}', and its pax header something else");
        name.Set(longName.Span);
    }

    private static bool IsHeaderOrEnd(ReadOnlySpan<byte> block)
    {
        var header = new TarHeader(block);
        return header.HasValidChecksum || block.Length == TarInput.BlockBytes && header.IsZero;
    }

    private int _padding;

    private void SkipData()
    {
        if (!input.Skip(DataLeft))
            throw Truncated();

        // An archive may end without the last padding, as without the two blocks of zeros: the entry is complete.
        _ = input.Skip(_padding);
        DataLeft = 0;
        _padding = 0;
    }

    private TarEntryKind KindOf(byte type) => type switch
    {
        // v7 has no directories: a name that ends in a slash is one. Later writers kept to that.
        0 or (byte)'0' or (byte)'7' => Entry.Name.Span is [.., (byte)'/'] ? TarEntryKind.Directory : TarEntryKind.File,
        (byte)'S' => TarEntryKind.File,
        (byte)'1' => TarEntryKind.HardLink,
        (byte)'2' => TarEntryKind.SymbolicLink,
        (byte)'3' => TarEntryKind.CharacterDevice,
        (byte)'4' => TarEntryKind.BlockDevice,
        (byte)'5' => TarEntryKind.Directory,
        (byte)'6' => TarEntryKind.Fifo,
        _ => throw Malformed($"its type '{ByteText.Show([type])}' is not one that layers have"),
    };

    private void ApplyRecords(ref long size, ref long uid, ref long gid)
    {
        TarEntry entry = Entry;
        ReadOnlySpan<byte> records = entry.PaxRecords.Span;
        for (int at = 0; at < records.Length;)
        {
            if (!TryTakeRecord(records, ref at, out Range keyRange, out Range valueRange))
                throw Malformed("a record of its pax header is malformed");
            ReadOnlySpan<byte> key = records[keyRange];
            ReadOnlySpan<byte> value = records[valueRange];
            if (key.StartsWith("SCHILY.xattr."u8))
                entry.Attributes.Add(((keyRange.Start.Value + "SCHILY.xattr."u8.Length)..keyRange.End, valueRange));
            else if (key.StartsWith("GNU.sparse."u8))
                _sparse.Add(key["GNU.sparse."u8.Length..], value, this);
            else if (value.IsEmpty)
                continue; // It takes back a record that holds for all; what the header says holds again.
            else if (key.SequenceEqual("path"u8))
                SetPath(value);
            else if (key.SequenceEqual("linkpath"u8))
                SetLinkPath(value);
            else if (key.SequenceEqual("size"u8))
                size = Decimal(value, "size");
            else if (key.SequenceEqual("uid"u8))
                uid = Decimal(value, "owner");
            else if (key.SequenceEqual("gid"u8))
                gid = Decimal(value, "group");
            else if (key.SequenceEqual("mtime"u8) && TarNumber.TryReadTime(value, out long seconds, out uint nanoseconds))
                (entry.ModifiedSeconds, entry.ModifiedNanoseconds) = (seconds, nanoseconds);
        }
    }

    /// <summary>Takes a pax header's next record: <c>LENGTH KEY=VALUE\n</c>, where LENGTH counts all of it.</summary>
    private static bool TryTakeRecord(ReadOnlySpan<byte> records, ref int at, out Range key, out Range value)
    {
        (key, value) = (default, default);
        ReadOnlySpan<byte> rest = records[at..];
        int blank = rest.IndexOf((byte)' ');
        if (blank is < 1 or > 9 || !TarNumber.TryReadDecimal(rest[..blank], out long length) || length > rest.Length || length < blank + 4 || rest[(int)length - 1] != '\n')
            return false;

        ReadOnlySpan<byte> body = rest[(blank + 1)..((int)length - 1)];
        int equals = body.IndexOf((byte)'=');
        if (equals < 1 || body[..equals].Contains((byte)0))
            return false;
        int start = at + blank + 1;
        at += (int)length;
        (key, value) = (start..(start + equals), (start + equals + 1)..(at - 1));
        return true;
    }

    private void SetPath(ReadOnlySpan<byte> value)
    {
        _hasPath = true;
        ReadOnlySpan<byte> path = Text(value);
        if (!_sparse.HasName)
            Entry.Name.Set(path);
    }

    private void SetLinkPath(ReadOnlySpan<byte> value)
    {
        _hasLinkPath = true;
        Entry.LinkName.Set(Text(value));
    }

    public ReadOnlySpan<byte> Text(ReadOnlySpan<byte> value) =>
        value.Contains((byte)0) ? throw Malformed($"a name in its pax header has a NUL: '{ByteText.Show(value)}'") : value;

    public long Decimal(ReadOnlySpan<byte> value, string what) =>
        TarNumber.TryReadDecimal(value, out long number) ? number : throw Malformed($"the {what} in its pax header is no number: '{ByteText.Show(value)}'");

    public long Number(ReadOnlySpan<byte> field, string what) =>
        TarNumber.TryReadField(field, out long number) ? number : throw Malformed($"the header's {what} is no number: '{ByteText.Show(field)}'");

    // The kernel's own clamp then fits it to the file system.
    private long Time(ReadOnlySpan<byte> field) =>
        TarNumber.TryReadField(field, out long seconds) ? seconds
        : (field[0] & 0x80) == 0 ? throw Malformed($"the header's time is no number: '{ByteText.Show(field)}'")
        : (field[0] & 0x40) == 0 ? long.MaxValue / 2 : long.MinValue / 2;

    // -1 as an id means "leave it as it is" to the kernel, so no file can have it.
    private uint Id(long id, string what) =>
        id is >= 0 and < uint.MaxValue ? (uint)id : throw Malformed($"its {what} is {id}, which is no id");

    private void ReadGlobalRecords(long size)
    {
        int before = _globalRecords.Length;
        Append(_globalRecords, size, MaxGlobalBytes);
        ReadOnlySpan<byte> records = _globalRecords.Span;
        for (int at = before; at < records.Length;)
        {
            if (!TryTakeRecord(records, ref at, out Range keyRange, out _))
                throw Malformed("a record of a global pax header is malformed");
            ReadOnlySpan<byte> key = records[keyRange];
            if (key.SequenceEqual("path"u8) || key.SequenceEqual("linkpath"u8) || key.SequenceEqual("size"u8) || key.StartsWith("GNU.sparse."u8))
                throw Malformed($"a global pax header sets '{ByteText.Show(key)}', which cannot hold for all entries");
        }
    }

    private void ReadName(GrowingBytes name, long size)
    {
        ReadExtension(name, size);
        int end = name.Span.IndexOf((byte)0);
        if (end >= 0)
            name.Truncate(end);
    }

    private void ReadExtension(GrowingBytes target, long size)
    {
        target.Clear();
        Append(target, size, MaxExtensionBytes);
    }

    private void Append(GrowingBytes target, long size, int most)
    {
        if (size > most - target.Length)
            throw Refused(SparkFailureKind.Limit, $"an extended header of {size} bytes, at most {most} are allowed, those that hold for all entries together");
        DataLeft = size;
        _padding = (int)(-size & (TarInput.BlockBytes - 1));
        while (DataLeft > 0)
            target.Append(TakeData(DataLeft));
        SkipData();
    }
}
