using System.Globalization;
using System.Text;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>Writes archives byte by byte, right and wrong ones. One Latin-1 character stands for one byte.</summary>
internal sealed class TarBuilder
{
    private readonly List<byte> _archive = [];

    public static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);

    public byte[] ToArray(bool end = true)
    {
        byte[] bytes = [.. _archive];
        if (end)
            Array.Resize(ref bytes, bytes.Length + 1024);
        return bytes;
    }

    public TarBuilder Raw(byte[] bytes)
    {
        _archive.AddRange(bytes);
        return this;
    }

    public TarBuilder File(string name, string content = "", uint mode = 0b110_100_100, string uid = "0", string gid = "0", long mtime = 0) =>
        Entry(new TarItem(name, '0') { Mode = Octal(mode, 8), Uid = uid, Gid = gid, Mtime = Octal(mtime, 12) }, Bytes(content));

    public TarBuilder Directory(string name, uint mode = 0b111_101_101, string uid = "0", string gid = "0", long mtime = 0) =>
        Entry(new TarItem(name, '5') { Mode = Octal(mode, 8), Uid = uid, Gid = gid, Mtime = Octal(mtime, 12) });

    public TarBuilder SymbolicLink(string name, string target) => Entry(new TarItem(name, '2') { Link = target, Mode = Octal(0b111_111_111, 8) });

    public TarBuilder HardLink(string name, string target) => Entry(new TarItem(name, '1') { Link = target });

    public TarBuilder Fifo(string name) => Entry(new TarItem(name, '6'));

    /// <summary>A pax header, its records made of keys and values.</summary>
    public TarBuilder Pax(params (string Key, string Value)[] records) => PaxHeader('x', records);

    public TarBuilder GlobalPax(params (string Key, string Value)[] records) => PaxHeader('g', records);

    public TarBuilder PaxHeader(char type, params (string Key, string Value)[] records) => Entry(new TarItem("PaxHeader", type), Bytes(string.Concat(records.Select(Record))));

    public TarBuilder GnuLong(char type, string text) => Entry(new TarItem("././@LongLink", type) { Gnu = true }, Bytes(text + "\0"));

    /// <summary>Any entry: the size is that of the data unless the item has one.</summary>
    public TarBuilder Entry(TarItem item, byte[]? data = null, bool pad = true)
    {
        data ??= [];
        _archive.AddRange(item.Header(data.Length));
        _archive.AddRange(data);
        if (pad)
            _archive.AddRange(new byte[(512 - data.Length % 512) % 512]);
        return this;
    }

    public static string Record((string Key, string Value) record)
    {
        string body = $" {record.Key}={record.Value}\n";
        int length = body.Length + 1;
        while (length != body.Length + length.ToString(CultureInfo.InvariantCulture).Length)
            length++;
        return length.ToString(CultureInfo.InvariantCulture) + body;
    }

    public static string Octal(long value, int width) => Convert.ToString(value, 8).PadLeft(width - 1, '0') + "\0";

    /// <summary>GNU's base-256.</summary>
    public static string Binary(Int128 value, int width)
    {
        var bytes = new byte[width];
        for (int i = width - 1; i >= 0; i--, value >>= 8)
            bytes[i] = (byte)(value & 0xff);
        bytes[0] |= 0x80;
        return Encoding.Latin1.GetString(bytes);
    }
}

/// <summary>The fields of a header, as they are written.</summary>
internal sealed record TarItem(string Name, char Type)
{
    public string Mode { get; init; } = "0000644\0";

    /// <summary>Decimal when it is short, else the field itself.</summary>
    public string Uid { get; init; } = "0";

    public string Gid { get; init; } = "0";

    public string? Size { get; init; }

    public string Mtime { get; init; } = "00000000000\0";

    public string Link { get; init; } = "";

    public string Prefix { get; init; } = "";

    public string Major { get; init; } = "0000000\0";

    public string Minor { get; init; } = "0000000\0";

    /// <summary>GNU's magic.</summary>
    public bool Gnu { get; init; }

    /// <summary>No magic.</summary>
    public bool V7 { get; init; }

    /// <summary>Bytes that replace those at an offset, before the checksum is made.</summary>
    public (int Offset, string Bytes)[] Patches { get; init; } = [];

    public bool BadChecksum { get; init; }

    public byte[] Header(long dataLength)
    {
        var block = new byte[512];
        Put(0, 100, Name);
        Put(100, 8, Mode);
        Put(108, 8, Uid.Length == 8 ? Uid : TarBuilder.Octal(long.Parse(Uid, CultureInfo.InvariantCulture), 8));
        Put(116, 8, Gid.Length == 8 ? Gid : TarBuilder.Octal(long.Parse(Gid, CultureInfo.InvariantCulture), 8));
        Put(124, 12, Size ?? TarBuilder.Octal(dataLength, 12));
        Put(136, 12, Mtime);
        block[156] = (byte)Type;
        Put(157, 100, Link);
        if (!V7)
            Put(257, 8, Gnu ? "ustar  \0" : "ustar\0" + "00");
        if (!V7 && !Gnu)
        {
            Put(329, 8, Major);
            Put(337, 8, Minor);
        }

        Put(345, 155, Prefix);
        foreach ((int offset, string bytes) in Patches)
            Put(offset, bytes.Length, bytes);
        Put(148, 8, "        ");
        int sum = block.Sum(b => b) + (BadChecksum ? 1 : 0);
        Put(148, 8, Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ");
        return block;

        void Put(int at, int length, string text)
        {
            byte[] bytes = TarBuilder.Bytes(text);
            Assert.That(bytes, Has.Length.AtMost(length), $"the field at {at}");
            bytes.CopyTo(block, at);
        }
    }
}
