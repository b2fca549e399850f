using System.Globalization;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class MetadataTests
{
    [TestCase("-1.5", "-2.500000000")]
    [TestCase("1.123456789123", "1.123456789")]
    [TestCase("0000000012.5", "12.500000000")]
    [TestCase("7.", "7.000000000")]
    [TestCase("NaN", "42.000000000")]
    [TestCase("", "42.000000000")]
    [TestCase("1e9", "42.000000000")]
    [TestCase("-", "42.000000000")]
    public void Times_are_exact_to_the_nanosecond_and_odd_ones_do_not_count(string time, string expected)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Pax(("mtime", time)).File("x", mtime: 42).Pax(("mtime", time)).Directory("d/", mtime: 42).File("d/later"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain($"\nx mode=100644 owner=0:0 links=1 mtime={expected} ").And.Contain($"\nd mode=40755 owner=0:0 mtime={expected}\n"));
    }

    [TestCase("99999999999999999999.9")]
    [TestCase("-99999999999999999999.9")]
    [TestCase("1152921504606846976")]
    public void Times_that_no_file_system_has_are_clamped(string time)
    {
        foreach (string place in new[] { "/tmp", "/dev/shm" })
        {
            using var sandbox = new Sandbox(place);
            sandbox.Unpack(new TarBuilder().Pax(("mtime", time)).File("x").Pax(("mtime", time)).SymbolicLink("l", "x").Pax(("mtime", time)).Directory("d/"));
            Int128 clamped = Clamped(Int128.Parse(time.Split('.')[0], CultureInfo.InvariantCulture), place);
            Assert.That(TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(Seconds), Is.EqualTo((Int128[])[clamped, clamped, clamped]), place);
        }
    }

    [Test]
    public void Times_in_headers_are_clamped_too()
    {
        using var sandbox = new Sandbox("/tmp");
        foreach (Int128 time in new Int128[] { -62135596901, 1L << 60, -1, Int128.One << 80, -(Int128.One << 80) })
        {
            sandbox.Unpack(new TarBuilder().Entry(new TarItem("x", '0') { Mtime = TarBuilder.Binary(time, 12) }));
            Assert.That(Seconds(TreeListing.Of(sandbox.Root, root: false)), Is.EqualTo(Clamped(time, "/tmp")), $"{time}");
        }
    }

    [TestCase("-1")]
    [TestCase("4294967295")]
    [TestCase("4294967296")]
    [TestCase("1e3")]
    [TestCase("0x10")]
    [TestCase("99999999999999999999")]
    public void What_is_no_id_is_refused(string id)
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("uid", id)).File("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("gid", id)).Directory("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
        if (Int128.TryParse(id, out Int128 number))
            Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("x", '0') { Uid = TarBuilder.Binary(number, 8) })).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [Test]
    public void Large_ids_are_kept()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked unpacked = sandbox.Unpack(new TarBuilder().Pax(("uid", "4294967294"), ("gid", "70000")).File("x").Entry(new TarItem("y", '0') { Uid = TarBuilder.Binary(3_000_000_000, 8) }));
        Assert.That((unpacked.HighestUid, unpacked.HighestGid), Is.EqualTo((4_294_967_294, 70_000)));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("x mode=100644 owner=4294967294:70000").And.Contain("y mode=100644 owner=3000000000:0"));
    }

    [TestCase("0 100000 65536", "70000", "0")]
    [TestCase("0 100000 65536", "0", "65536")]
    [TestCase("0 1000 1\n1 100000 10\n", "11", "0")]
    public void An_owner_that_a_full_mapping_lacks_is_refused_with_path_and_id(string map, string uid, string gid)
    {
        using var sandbox = new Sandbox();
        SparkFailure failure = sandbox.Refusal(new TarBuilder().File("x/y", "", 420, uid, gid), ids: map);
        string id = uid == "0" ? gid : uid;
        Assert.That((failure.Kind, $"{failure.Id}"), Is.EqualTo((uid == "0" ? SparkFailureKind.UnmappedGroup : SparkFailureKind.UnmappedUser, id)));
        Assert.That(failure.Message, Does.Contain("'x/y'").And.Contain(id));
    }

    [Test]
    public void With_one_id_all_owners_become_root_and_a_note_counts_them()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder().File("a", "", 0b110_111_101_101, "5", "6").File("b", "", 420, "0", "6").Directory("d/", 0b010_111_101_101, "7", "7").File("c", "", 0b100_111_101_101).SymbolicLink("l", "a"),
            Sandbox.Request with { SquashUnmappedIds = true }, ids: "0 1000 1");
        Assert.That(string.Join('|', result.Warnings), Is.EqualTo("3 entries belong to root now, because the mapping lacks their owners; the first is 'a' of 5:6"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("a mode=100755 owner=0:0").And.Contain("b mode=100644 owner=0:0").And.Contain("d mode=42755 owner=0:0").And.Contain("c mode=104755"), "no program of somebody's becomes one of root's");
    }

    [Test]
    public void Names_of_owners_are_not_looked_up()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Entry(new TarItem("x", '0') { Uid = "5", Gid = "6", Patches = [(265, "root"), (297, "nobody")] }).Pax(("uname", "root"), ("gname", "root")).File("y", "", 420, "7", "8"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("x mode=100644 owner=5:6").And.Contain("y mode=100644 owner=7:8"));
    }

    [Test]
    public void A_directory_that_forbids_writing_gets_its_children_and_its_mode()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("a/", 0, mtime: 1).File("a/x").File("b/x").Directory("b/", 0b101_101_101, mtime: 2).Directory("a/sub/", 0, mtime: 3).File("a/sub/y"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("a mode=40000 owner=0:0 mtime=1.0").And.Contain("b mode=40555 owner=0:0 mtime=2.0").And.Contain("a/sub mode=40000 owner=0:0 mtime=3.0"));
    }

    [TestCase("0100644\0", "100644")]
    [TestCase("7777777\0", "107777")]
    [TestCase("\0\0\0\0\0\0\0\0", "100000")]
    [TestCase("        ", "100000")]
    [TestCase("   644 \0", "100644")]
    [TestCase("644\0junk", "100644")]
    public void Modes_are_read_as_they_come(string field, string mode)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Entry(new TarItem("x", '0') { Mode = field }));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("x mode=" + mode));
    }

    [Test, CancelAfter(60_000)]
    public void The_same_layer_makes_the_same_tree(CancellationToken token)
    {
        using var one = new Sandbox();
        using var two = new Sandbox();
        TarBuilder archive = new TarBuilder().File("a/b/c").SymbolicLink("l", "a").File("l/d/e").File("a/.wh.gone").File("a/b/.wh..wh..opq");
        one.Unpack(archive);
        // At another time of the file system's clock, which moves with the kernel's tick.
        using var clock = new Sandbox();
        for (DateTime first = TouchedAt(clock["f"]); TouchedAt(clock["f"]) == first;)
            token.ThrowIfCancellationRequested();
        two.Unpack(archive);
        Assert.That(TreeListing.Of(one.Root, root: false), Is.EqualTo(TreeListing.Of(two.Root, root: false)));
    }

    /// <summary>The nearest time that spark asks for, and of these the nearest that the file system keeps.</summary>
    private static Int128 Clamped(Int128 time, string place) => Int128.Clamp(
        Int128.Clamp(time, long.MinValue / 2, long.MaxValue / 2), TimeOf(place, "@-9223372036854775808"), TimeOf(place, "@9223372036854775807"));

    private static Int128 TimeOf(string place, string time)
    {
        using var sandbox = new Sandbox(place);
        Tool.Run("touch", "-d", time, sandbox["t"]);
        return Seconds(TreeListing.Of(sandbox.Root, root: false));
    }

    private static Int128 Seconds(string line) => Int128.Parse(line.Split(" mtime=")[1].Split('.')[0], CultureInfo.InvariantCulture);

    private static DateTime TouchedAt(string file)
    {
        File.WriteAllText(file, "");
        return File.GetLastWriteTimeUtc(file);
    }
}
