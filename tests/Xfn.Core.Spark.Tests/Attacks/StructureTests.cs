using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class StructureTests
{
    [Test]
    public void Sizes_that_are_none_are_refused_before_anything_is_read()
    {
        using var sandbox = new Sandbox();
        foreach (string size in new[] { TarBuilder.Binary(-1, 12), TarBuilder.Binary(Int128.One << 70, 12), "9zz\0\0\0\0\0\0\0\0\0" })
            Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("x", '0') { Size = size })).Kind, Is.EqualTo(SparkFailureKind.Image));
        foreach (string size in new[] { TarBuilder.Binary(1L << 62, 12), TarBuilder.Binary(long.MaxValue, 12) })
            Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("x", '0') { Size = size })).Kind, Is.EqualTo(SparkFailureKind.Limit));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("size", "9223372036854775807")).File("x")).Kind, Is.EqualTo(SparkFailureKind.Limit));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("size", "9223372036854775808")).File("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("size", "-1")).File("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.Empty);
    }

    [Test]
    public void A_pax_size_holds_instead_of_the_headers()
    {
        using var sandbox = new Sandbox();
        byte[] hidden = [.. new TarItem("evil", '0').Header(0), .. TarBuilder.Bytes("tail")];
        sandbox.Unpack(new TarBuilder().Pax(("size", hidden.Length.ToString(System.Globalization.CultureInfo.InvariantCulture))).Entry(new TarItem("x", '0') { Size = TarBuilder.Octal(0, 12) }, hidden)
            .Pax(("size", "3")).Entry(new TarItem("y", '0') { Size = TarBuilder.Octal(5000, 12) }, TarBuilder.Bytes("abc")).File("z"));
        Assert.That(File.ReadAllBytes(sandbox["x"]), Is.EqualTo(hidden));
        Assert.That(File.ReadAllText(sandbox["y"]), Is.EqualTo("abc"));
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Has.Length.EqualTo(3));
    }

    [Test]
    public void Data_of_what_has_none_is_never_taken_for_entries()
    {
        foreach (char type in "12356")
        {
            using var sandbox = new Sandbox();
            byte[] hidden = new TarItem("evil", '0').Header(0);
            Assert.That(sandbox.Refusal(new TarBuilder().File("t").Entry(new TarItem("x", type) { Link = "t" }, hidden)).Kind, Is.EqualTo(SparkFailureKind.Image));
            // A program that takes the size for wrong sees the archive's end there, and none of what follows.
            byte[] end = [.. new byte[1024], .. TarBuilder.Bytes("junk")];
            Assert.That(sandbox.Refusal(new TarBuilder().File("t").Entry(new TarItem("x", type) { Link = "t" }, end).File("hidden")).Kind, Is.EqualTo(SparkFailureKind.Image));
            Assert.That(File.Exists(sandbox["hidden"]), Is.False);
            sandbox.Unpack(new TarBuilder().File("t").Entry(new TarItem("x", type) { Link = "t" }, TarBuilder.Bytes("junk")).File("after"));
            Assert.That(File.Exists(sandbox["after"]));
        }
    }

    [Test]
    public void Extended_headers_are_bounded()
    {
        foreach (char type in "xgLK")
        {
            using var sandbox = new Sandbox();
            foreach (long size in new[] { (1L << 20) + 1, 8L << 20, 2L << 30, 1L << 40 })
                Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("x", type) { Size = TarBuilder.Binary(size, 12) })).Kind, Is.EqualTo(SparkFailureKind.Limit));
        }

        using var many = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 20; i++)
            archive.GlobalPax(("comment", new string('x', 100_000)));
        Assert.That(many.Refusal(archive).Kind, Is.EqualTo(SparkFailureKind.Limit));
    }

    [TestCase("5 a=\n", true)]
    [TestCase("6 a=b\n", true)]
    [TestCase("7 a=b\n", false)]
    [TestCase("5 a=b\n", false)]
    [TestCase("6 a=bX", false)]
    [TestCase("6 abb\n", false)]
    [TestCase("5 =b\n", false)]
    [TestCase("0 a=b\n", false)]
    [TestCase("-6 a=b\n", false)]
    [TestCase("+6 a=b\n", false)]
    [TestCase(" 6 a=b\n", false)]
    [TestCase("a=b\n", false)]
    [TestCase("99999999999999999999 a=b\n", false)]
    [TestCase("6 a=b\n\0\0", false)]
    [TestCase("6 a\n=\n", true)]
    [TestCase("12 mtime=3\n\n", true)]
    [TestCase("9 path=a\n9 path=b\n", true)]
    [TestCase("10 path=a\n10 path=b\n", true)]
    public void Pax_records_are_whole_or_refused(string records, bool good)
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder().Entry(new TarItem("p", 'x'), TarBuilder.Bytes(records)).File("x");
        if (good)
            sandbox.Unpack(archive);
        else
            Assert.That(sandbox.Refusal(archive).Kind, Is.EqualTo(SparkFailureKind.Image));
        if (records.Contains("path=b", StringComparison.Ordinal) && good)
            Assert.That(File.Exists(sandbox["b"]), "the last holds");
    }

    [Test]
    public void Of_two_pax_headers_in_a_row_the_last_holds_and_one_before_the_end_is_refused()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Pax(("path", "a"), ("mtime", "5")).Pax(("path", "b")).File("x").File("y"));
        Assert.That(TreeListing.Of(sandbox.Root, root: false), Does.StartWith("b mode=100644 owner=0:0 links=1 mtime=0.0").And.Contain("\ny mode"));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("path", "a"))).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(sandbox.Refusal(new TarBuilder().GnuLong('L', "a").ToArray(end: false)).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [Test]
    public void Two_long_names_for_one_entry_must_be_the_same()
    {
        using var sandbox = new Sandbox();
        foreach (bool first in new[] { true, false })
        {
            TarBuilder Archive((string, string) record, char type, string text)
            {
                var archive = new TarBuilder();
                return (first ? archive.GnuLong(type, text).Pax(record) : archive.Pax(record).GnuLong(type, text)).SymbolicLink("x", "y");
            }

            Assert.That(sandbox.Refusal(Archive(("path", "one"), 'L', "two")).Kind, Is.EqualTo(SparkFailureKind.Image));
            Assert.That(sandbox.Refusal(Archive(("linkpath", "one"), 'K', "two")).Kind, Is.EqualTo(SparkFailureKind.Image));
            Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.Empty);
            sandbox.Unpack(Archive(("path", "same"), 'L', "same"));
            sandbox.Unpack(Archive(("linkpath", "same"), 'K', "same"));
            sandbox.Unpack(Archive(("path", "p"), 'K', "k"));
            Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("\np mode=120777").And.Contain("\nsame mode=120777").And.Contain("-> same").And.Contain("-> k"));
            foreach (string name in new[] { "p", "same", "x" })
                Sandbox.Remove(sandbox[name]);
        }
    }

    [Test]
    public void Records_for_all_entries_are_few()
    {
        using var sandbox = new Sandbox();
        (string, string)[] records = [.. Enumerable.Repeat(("uid", "1"), 3000)];
        Assert.That(sandbox.Refusal(new TarBuilder().GlobalPax(records).File("x")).Kind, Is.EqualTo(SparkFailureKind.Limit));
        Assert.That(sandbox.Refusal(new TarBuilder().GlobalPax(records[..1500]).GlobalPax(records[..1500]).File("x")).Kind, Is.EqualTo(SparkFailureKind.Limit));
        sandbox.Unpack(new TarBuilder().GlobalPax(records[..1500]).File("x"));
    }

    [Test]
    public void Global_records_hold_until_an_entry_has_its_own()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().GlobalPax(("mtime", "7"), ("comment", "a commit")).File("a", mtime: 1).Pax(("mtime", "8")).File("b").Pax(("mtime", "")).File("c", mtime: 3).GlobalPax(("uid", "5")).File("d"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("a mode=100644 owner=0:0 links=1 mtime=7.0").And.Contain("b mode=100644 owner=0:0 links=1 mtime=8.0").And.Contain("d mode=100644 owner=5:0 links=1 mtime=7.0"));
        foreach (string key in new[] { "path", "linkpath", "size", "GNU.sparse.map" })
            Assert.That(sandbox.Refusal(new TarBuilder().GlobalPax((key, "1")).File("a")).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [Test]
    public void A_wrong_checksum_is_refused()
    {
        using var sandbox = new Sandbox();
        SparkFailure failure = sandbox.Refusal(new TarBuilder().File("a", "x").Entry(new TarItem("b", '0') { BadChecksum = true }));
        Assert.That(failure, Is.EqualTo(new SparkFailure(SparkFailureKind.Image, "cannot unpack layer entry '' at byte 1024: the header's checksum is wrong", 0)));
    }

    [Test]
    public void Checksums_of_signed_bytes_are_right_too()
    {
        using var sandbox = new Sandbox();
        byte[] header = new TarItem("caf\u00e9", '0').Header(0);
        int sum = header.Select((b, i) => i is >= 148 and < 156 ? ' ' : (int)(sbyte)b).Sum();
        TarBuilder.Bytes(Convert.ToString(sum, 8).PadLeft(6, '0')).CopyTo(header, 148);
        sandbox.Unpack(new TarBuilder().Raw(header));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("caf\u00e9 mode"));
    }

    [Test]
    public void Junk_behind_GNUs_magic_is_no_prefix_but_a_name_there_is()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Entry(new TarItem("a", '0') { Gnu = true, Prefix = "\u00ff\u00fe\u0001junk" }).Entry(new TarItem("b", '0') { Gnu = true, Prefix = "00000000017\000000000017\0" }).Entry(new TarItem("name", '0') { Gnu = true, Prefix = "root/.cpanm/work" }));
        Assert.That(File.Exists(sandbox["a"]) && File.Exists(sandbox["b"]) && File.Exists(sandbox["root/.cpanm/work/name"]));
    }

    [Test]
    public void Blank_numbers_are_zero()
    {
        using var sandbox = new Sandbox();
        foreach (string blank in new[] { "\0\0\0\0\0\0\0\0", "        ", "      0 ", "0\0\0\0\0\0\0\0" })
        {
            sandbox.Unpack(new TarBuilder().Entry(new TarItem("x", '0') { Uid = blank, Gid = blank, Size = (blank + "    ")[..12], Mtime = "            " }));
            Assert.That(TreeListing.Of(sandbox.Root, root: false), Does.Contain("x mode=100644 owner=0:0 links=1 mtime=0.000000000 size=0 "), $"'{blank}'");
            File.Delete(sandbox["x"]);
        }
    }

    [Test]
    public void Archives_that_are_cut_off_are_refused_wherever()
    {
        byte[] archive = new TarBuilder().Pax(("path", "long")).File("x", new string('x', 1000)).GnuLong('L', "y").File("y", "y").ToArray(end: false);
        for (int length = 1; length < archive.Length; length += 37)
        {
            using var sandbox = new Sandbox();
            // Between two entries it cannot be seen, whether the padding is there or not; the DiffID tells.
            if (length is (>= 1536 + 1000 and <= 512 * 5) or > 4096)
                Assert.That(sandbox.Unpack(archive[..length]).Entries, Is.EqualTo(length > 4096 ? 2 : 1), $"{length} bytes");
            else
                Assert.That(sandbox.Refusal(archive[..length]).Kind, Is.EqualTo(SparkFailureKind.Image), $"{length} bytes");
        }
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(511)]
    [TestCase(1000)]
    public void An_archive_may_end_behind_the_last_byte_of_an_entry(int bytes)
    {
        using var sandbox = new Sandbox();
        string content = new('x', bytes);
        sandbox.Unpack(new TarBuilder().File("first", "1").Entry(new TarItem("last", '0'), TarBuilder.Bytes(content), pad: false).ToArray(end: false));
        Assert.That(File.ReadAllText(sandbox["last"]), Is.EqualTo(content));
        if (bytes > 0)
            Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("cut", '0') { Size = TarBuilder.Octal(bytes + 1, 12) }, TarBuilder.Bytes(content), pad: false).ToArray(end: false)).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [TestCase(0)]
    [TestCase(512)]
    [TestCase(1024)]
    [TestCase(10240)]
    public void An_empty_archive_is_an_empty_layer(int zeros)
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Unpack(new byte[zeros]).Entries, Is.Zero);
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.Empty);
    }

    [Test]
    public void A_block_of_zeros_between_entries_is_refused()
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().File("a").Raw(new byte[512]).File("b")).Kind, Is.EqualTo(SparkFailureKind.Image));
        sandbox.Unpack(new TarBuilder().File("a").Raw(new byte[1024]).File("b"));
        Assert.That(File.Exists(sandbox["b"]), Is.False, "the archive has ended");
    }

    [Test]
    public void What_is_no_archive_is_refused()
    {
        var random = new byte[2048];
        new Random(7).NextBytes(random);
        byte[] html = TarBuilder.Bytes("<!DOCTYPE html><html>" + new string(' ', 2000));
        byte[] json = TarBuilder.Bytes("{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}");
        using var sandbox = new Sandbox();
        foreach (byte[] bytes in new[] { random, html, json })
            Assert.That(sandbox.Refusal(bytes).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(sandbox.Refusal(html).Message, Does.Contain("no tar archive"));
    }

    [Test]
    public void Directories_in_thousands_stay_in_time_and_are_removed()
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 20_000; i++)
            archive.Directory($"d{i}/").File($"all/f{i}");
        Assert.That(sandbox.Unpack(archive).Entries, Is.EqualTo(40_001), "one is implied");
    }
}
