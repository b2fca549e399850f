using System.Globalization;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>Random archives by the formats' grammar, where any part may be odd, wrong or at odds with another: extended
/// headers, sparse maps, false sizes, numbers in every notation, headers within data, names that lead out.</summary>
/// <param name="random">What decides.</param>
/// <param name="real">Archives that other programs wrote, for entries among the made-up ones.</param>
internal sealed class HostileArchive(Random random, IReadOnlyList<byte[]> real)
{
    // Few, so that entries meet; those at the end lead out, hide, or stand for the root.
    private static readonly string[] Names =
    [
        "a", "b", "dir", "dir/a", "dir/b", "dir/sub/c", "a/x", "b/y/z", "up", "up/victim/hello", "link", "link/a", "./dir//a", "dir/", "a/", "caf\u00e9", "n\u00ff\u0001\n",
        "..", "../victim/hello", "/../../x", "dir/../..", ".", "/", "", ".wh.a", "dir/.wh.b", ".wh.dir", ".wh..wh..opq", "dir/.wh..wh..opq", ".wh.", ".wh..wh.plnk", "dir/.wh.sub/x", "/tmp/canary", "/proc/self/root/tmp/x",
    ];

    private static readonly string[] Targets = ["a", "b", "dir", "dir/a", "/dir", "..", "../..", "../victim", "/", "/tmp", "link", "up/victim/hello", "/proc/self/fd/3", ".wh.a", "", "/etc/passwd", "../root-evil/hello", "x/../a"];

    private static readonly string[] Numbers = ["0", "1", "7", "65535", "65536", "4294967294", "4294967295", "-1", "1.5", "-0.000000001", "99999999999999999999.9", "NaN", "", "0x1", "1e3", " 5", "9223372036854775807"];

    public byte[] Make()
    {
        var archive = new TarBuilder();
        for (int entries = random.Next(1, 14); entries > 0; entries--)
        {
            if (real.Count > 0 && Chance(8))
                archive.Raw(PartOf(real[random.Next(real.Count)]));
            while (Chance(3))
                AddExtension(archive);
            AddEntry(archive);
        }

        if (Chance(6))
            AddExtension(archive);
        byte[] made = archive.ToArray(end: !Chance(6));
        return Chance(12) ? made[..random.Next(made.Length + 1)] : made;
    }

    /// <summary>Some entries of an archive: from one block to another, which mostly are no headers.</summary>
    private byte[] PartOf(byte[] archive)
    {
        int blocks = archive.Length / 512, from = random.Next(blocks);
        while (from > 0 && !archive.AsSpan(from * 512 + 257, 5).SequenceEqual("ustar"u8))
            from--;
        return archive[(from * 512)..(Math.Min(blocks, from + random.Next(1, 12)) * 512)];
    }

    private void AddExtension(TarBuilder archive)
    {
        switch (random.Next(8))
        {
            case 0:
                archive.GnuLong('L', Pick(Names) + Filler());
                break;
            case 1:
                archive.GnuLong('K', Pick(Targets) + Filler());
                break;
            case 2:
                archive.GlobalPax(Some(3, Record));
                break;
            case 3: // records that are none
                archive.Entry(new TarItem("p", Chance(2) ? 'x' : 'g'), TarBuilder.Bytes(Pick(["5 a=b\n", "6 abb\n", "0 a=b\n", "999 path=x\n", "9 path=a", "11 path=a\0b\n", " 6 a=b\n", "\n", "6 =bb\n"])));
                break;
            case 4:
                archive.Pax([.. SparseRecords()]);
                break;
            default:
                archive.Pax(Some(4, Record));
                break;
        }
    }

    private (string, string) Record() => random.Next(9) switch
    {
        0 => ("path", Pick(Names) + (Chance(10) ? "\0" : "")),
        1 => ("linkpath", Pick(Targets)),
        2 => ("size", Chance(3) ? Pick(Numbers) : Number(random.Next(2000))),
        3 => (Pick(["uid", "gid"]), Pick(Numbers)),
        4 => (Pick(["mtime", "atime", "ctime"]), Pick(Numbers)),
        5 => ("SCHILY.xattr." + Pick(["user.a", "user.b", "user.", "user.overlay.opaque", "user.overlay.redirect", "security.capability", "security.selinux", "trusted.x", "system.posix_acl_access", ""]), Chance(3) ? "\u0001\0\0\u0002\0\u0020" + new string('\0', 14) : Filler()),
        6 => (Pick(["comment", "charset", "hdrcharset", "uname", "SCHILY.fflags", "LIBARCHIVE.creationtime"]), Pick(Names)),
        7 => SparseRecords().First(),
        _ => (Pick(Names), Pick(Numbers)),
    };

    private IEnumerable<(string, string)> SparseRecords()
    {
        string size = Chance(4) ? Pick(Numbers) : Number(random.Next(10_000));
        string[] map = Some(4, () => Number(random.Next(3000)));
        switch (random.Next(3))
        {
            case 0:
                yield return ("GNU.sparse.size", size);
                yield return ("GNU.sparse.numblocks", Number(map.Length / 2));
                foreach (string number in map)
                    yield return (Chance(2) ? "GNU.sparse.offset" : "GNU.sparse.numbytes", number);
                break;
            case 1:
                yield return ("GNU.sparse.size", size);
                yield return ("GNU.sparse.map", Chance(2) ? string.Join(',', map) : "0,4,100,0");
                yield return ("GNU.sparse.name", Pick(Names));
                break;
            default:
                yield return ("GNU.sparse.major", Pick(["1", "0", "2"]));
                yield return ("GNU.sparse.minor", Pick(["0", "1"]));
                yield return ("GNU.sparse.realsize", size);
                yield return ("GNU.sparse.name", Pick(Names));
                break;
        }
    }

    private void AddEntry(TarBuilder archive)
    {
        char type = Chance(20) ? (char)random.Next(256) : Pick(["0", "0", "0", "\0", "1", "1", "2", "2", "3", "4", "5", "5", "6", "7", "S"])[0];
        byte[] data = type is '0' or '\0' or '7' or 'S' || Chance(20) ? Data() : [];
        bool gnu = Chance(3) || type == 'S';
        archive.Entry(
            new TarItem(Pick(Names), type)
            {
                Link = Pick(Targets),
                Mode = Field(random.Next(0x2000), 8),
                Uid = Field(random.Next(3), 8),
                Gid = Field(random.Next(70_000), 8),
                Mtime = Field(random.NextInt64(1L << 33), 12),
                Size = Chance(12) ? Field(random.NextInt64() >> random.Next(63), 12) : Chance(8) ? Field(data.Length + random.Next(-600, 600), 12) : null,
                Major = Field(random.Next(9), 8),
                Minor = Field(random.Next(9), 8),
                Prefix = Chance(8) ? Pick(["../..", "dir", "/tmp", "\u00ff\u0001", "link"]) : "",
                Gnu = gnu,
                V7 = !gnu && Chance(6),
                Patches = type == 'S' ? OldSparse(data.Length) : [],
                BadChecksum = Chance(60),
            },
            data,
            pad: !Chance(60));
    }

    private (int, string)[] OldSparse(int length)
    {
        int half = length / 2;
        string map = Chance(2) ? Octal(0) + Octal(half) + Octal(half + 512) + Octal(length - half) : string.Concat(Some(4, () => Octal(random.Next(2000))));
        return [(386, map[..Math.Min(map.Length, 96)]), (482, Chance(6) ? "\u0001" : "\0"), (483, Field(Chance(2) ? length + 512 : random.Next(5000), 12))];
    }

    private byte[] Data()
    {
        switch (random.Next(6))
        {
            case 0:
                return [];
            case 1: // an archive, or a header, within the data
                return [.. new TarItem("evil", '0').Header(0), .. new byte[random.Next(2) * 512]];
            case 2: // a map before the data
                return TarBuilder.Bytes(Pick(["1\n0\n4\n", "2\n0\n2\n100\n2\n", "0\n", "9999999\n0\n", "1\n-1\n4\n", "\n\n"]).PadRight(512, '\0') + "data");
            default:
                var data = new byte[random.Next(1500)];
                random.NextBytes(data);
                return data;
        }
    }

    /// <summary>A number in one of the notations, or something that is none.</summary>
    private string Field(long value, int width) => random.Next(14) switch
    {
        0 => TarBuilder.Binary(value, width),
        1 => TarBuilder.Binary(Chance(2) ? -value : (Int128)value << random.Next(40), width),
        2 => new string(Pick([" ", "\0", "7", "9"])[0], width),
        3 => Convert.ToString(Math.Abs(value) & 0x1fffff, 8).PadLeft(width, ' ')[..width],
        _ => TarBuilder.Octal(Math.Abs(value) & ((1L << (3 * (width - 1))) - 1), width),
    };

    private static string Octal(long value) => TarBuilder.Octal(Math.Max(0, value), 12);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private string Filler() => Chance(3) ? new string((char)random.Next(1, 256), random.Next(Chance(20) ? 70_000 : 300)) : "";

    private T[] Some<T>(int most, Func<T> make) => [.. Enumerable.Range(0, random.Next(1, most + 1)).Select(_ => make())];

    private string Pick(string[] values) => values[random.Next(values.Length)];

    private bool Chance(int of) => random.Next(of) == 0;
}
