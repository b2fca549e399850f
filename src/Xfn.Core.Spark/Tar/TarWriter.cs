using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Tar;

/// <summary>Writes an archive to a descriptor: ustar, with pax records for what has no room there.</summary>
/// <remarks>https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html</remarks>
internal sealed class TarWriter(int fd)
{
    public const byte File = (byte)'0', SymbolicLink = (byte)'2', Directory = (byte)'5';

    private const int NameBytes = 100;
    private const byte Extended = (byte)'x';

    private readonly byte[] _block = new byte[TarInput.BlockBytes];

    /// <summary>Begins an entry.</summary>
    /// <param name="type">What it is.</param>
    /// <param name="name">Its name.</param>
    /// <param name="link">What it links to.</param>
    /// <param name="status">Its mode, owner and time.</param>
    /// <param name="size">How many bytes of <see cref="WriteData"/> follow.</param>
    public void WriteEntry(byte type, ReadOnlySpan<byte> name, ReadOnlySpan<byte> link, in Libc.FileStatus status, long size)
    {
        var records = new List<byte>();
        if (name.Length > NameBytes)
            Add(records, "path", name);
        if (link.Length > NameBytes)
            Add(records, "linkpath", link);
        AddNumber(records, "uid", status.Uid, octalDigits: 7);
        AddNumber(records, "gid", status.Gid, octalDigits: 7);
        AddNumber(records, "size", size, octalDigits: 11);
        AddNumber(records, "mtime", status.ModifiedSeconds, octalDigits: 11);
        if (records.Count > 0)
        {
            WriteHeader(Extended, "pax"u8, default, default, records.Count);
            WriteData(CollectionsMarshal.AsSpan(records));
            EndData(records.Count);
        }

        WriteHeader(type, name, link, status, size);
    }

    public void WriteData(ReadOnlySpan<byte> data)
    {
        if (!Libc.TryWriteAll(fd, data))
            throw SparkException.FromErrno("cannot write the archive");
    }

    /// <summary>Ends an entry's data, of so many bytes.</summary>
    public void EndData(long size)
    {
        Array.Clear(_block);
        WriteData(_block.AsSpan(0, (int)(-size & (TarInput.BlockBytes - 1))));
    }

    /// <summary>Ends the archive.</summary>
    public void End()
    {
        Array.Clear(_block);
        WriteData(_block);
        WriteData(_block);
    }

    private void WriteHeader(byte type, ReadOnlySpan<byte> name, ReadOnlySpan<byte> link, in Libc.FileStatus status, long size)
    {
        const int sumAt = 148, sumBytes = 8;
        Span<byte> block = _block;
        block.Clear();
        name[..Math.Min(name.Length, NameBytes)].CopyTo(block);
        Octal(block.Slice(100, 8), status.Permissions);
        Octal(block.Slice(108, 8), status.Uid);
        Octal(block.Slice(116, 8), status.Gid);
        Octal(block.Slice(124, 12), size);
        Octal(block.Slice(136, 12), status.ModifiedSeconds);
        block[156] = type;
        link[..Math.Min(link.Length, NameBytes)].CopyTo(block[157..]);
        "ustar\000"u8.CopyTo(block[257..]);

        // It is the sum of all bytes, its own counted as blanks.
        block.Slice(sumAt, sumBytes).Fill((byte)' ');
        int sum = 0;
        foreach (byte value in block)
            sum += value;
        Octal(block.Slice(sumAt, sumBytes - 1), sum);
        WriteData(block);
    }

    /// <summary>Writes a number with a NUL behind it; 0 for one that has no room, which a record says.</summary>
    private static void Octal(Span<byte> field, long value)
    {
        bool fits = Fits(value, field.Length - 1);
        for (int i = field.Length - 2; i >= 0; i--, value >>= 3)
            field[i] = (byte)('0' + (fits ? value & 7 : 0));
    }

    private static bool Fits(long value, int octalDigits) => value >= 0 && value >> (3 * octalDigits) == 0;

    private static void AddNumber(List<byte> records, string key, long value, int octalDigits)
    {
        if (!Fits(value, octalDigits))
            Add(records, key, Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));
    }

    /// <summary>Adds <c>LENGTH KEY=VALUE\n</c>, where LENGTH counts itself.</summary>
    private static void Add(List<byte> records, string key, ReadOnlySpan<byte> value)
    {
        int rest = key.Length + value.Length + 3, length = rest;
        while (length != rest + length.ToString(CultureInfo.InvariantCulture).Length)
            length = rest + length.ToString(CultureInfo.InvariantCulture).Length;
        records.AddRange(Encoding.ASCII.GetBytes($"{length} {key}="));
        records.AddRange(value);
        records.Add((byte)'\n');
    }
}
