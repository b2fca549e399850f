using Xfn.Core.Interop;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class HardLinkTests
{
    [TestCase("../victim/hello")]
    [TestCase("/../victim/hello")]
    [TestCase("../../victim/hello")]
    [TestCase("../root-evil/hello")]
    [TestCase("CANARY/hello")]
    [TestCase("link/hello")]
    public void Files_outside_cannot_be_linked_to(string target)
    {
        using var sandbox = new Sandbox();
        string to = target.Replace("CANARY", sandbox.Canary, StringComparison.Ordinal);
        var archive = new TarBuilder().SymbolicLink("link", sandbox.Canary).HardLink("stolen", to).File("stolen/x").File("stolen", "overwritten");
        Assert.That(sandbox.Refusal(archive).Kind, Is.EqualTo(SparkFailureKind.NeedsParents));
        string lower = Directory.CreateDirectory(Path.Combine(sandbox.Base, "lower")).FullName;
        Assert.That(sandbox.Refusal(archive, lower: lower).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(File.Exists(sandbox["stolen"]), Is.False);
    }

    [TestCase("usr/bin/x")]
    [TestCase("/usr/bin/x")]
    [TestCase("./usr/../usr/bin/x")]
    [TestCase("ln/bin/x")]
    public void A_hard_link_is_the_same_file(string target)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("usr/bin/").SymbolicLink("ln", "/usr").File("usr/bin/x", "x", 0b111_101_101, "1", "2", 3)
            .Entry(new TarItem("y", '1') { Link = target, Mode = "0000000\0", Uid = "7", Gid = "7", Mtime = TarBuilder.Octal(77, 12) }));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("usr/bin/x mode=100755 owner=1:2 links=2 mtime=3.").And.Contain("y mode=100755").And.Contain("same-as=usr/bin/x"));
    }

    [Test]
    public void Links_to_what_is_not_there_are_refused()
    {
        using var sandbox = new Sandbox();
        string lower = Directory.CreateDirectory(Path.Combine(sandbox.Base, "lower")).FullName;
        File.WriteAllText(Path.Combine(lower, "gone"), "x");
        Directory.CreateDirectory(Path.Combine(lower, "dir"));
        foreach (TarBuilder archive in new[]
        {
            new TarBuilder().HardLink("y", "missing"),
            new TarBuilder().HardLink("y", "later").File("later"),
            new TarBuilder().HardLink("y", "y"),
            new TarBuilder().File("y").HardLink("y", "y"),
            new TarBuilder().File(".wh.gone").HardLink("y", "gone"),
            new TarBuilder().File(".wh..wh..opq").HardLink("y", "gone"),
            new TarBuilder().Directory("d/").HardLink("y", "d"),
            new TarBuilder().HardLink("y", "dir"),
            new TarBuilder().HardLink("y", ""),
            new TarBuilder().HardLink("y", "/"),
            new TarBuilder().HardLink("y", ".wh.gone"),
            new TarBuilder().File("f").HardLink("y", "f/x"),
            new TarBuilder().Directory("d/").File("d/f").HardLink("d", "d/f"),
            new TarBuilder().File("f").HardLink("f/x", "f"),
            new TarBuilder().File("f").HardLink("f/x/y", "f"),
            new TarBuilder().HardLink("gone/x", "gone"),
        })
        {
            using var inner = new Sandbox();
            Assert.That(inner.Refusal(archive, lower: lower).Kind, Is.EqualTo(SparkFailureKind.Image));
        }

        using var whited = new Sandbox();
        Assert.That(whited.Refusal(new TarBuilder().File(".wh.gone").HardLink("y", "gone")).Kind, Is.EqualTo(SparkFailureKind.Image), "needs no parents to be refused");
    }

    [Test]
    public void A_file_of_a_lower_layer_is_copied_with_all_it_has_and_linked()
    {
        using var lower = new Sandbox();
        lower.Unpack(new TarBuilder().Directory("usr/", 0b111_000_101, "3", "4", 5).Pax(("SCHILY.xattr.user.a", "b"), ("mtime", "9.25")).File("usr/x", "content", 0b100_111_101_101, "1", "2").SymbolicLink("lnk", "/usr"));
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().HardLink("y", "/usr/x").HardLink("z", "lnk/x").HardLink("usr/w", "usr/x"), Sandbox.Request with { LayersBelow = true }, lower.Root);
        const string copy = "mode=104755 owner=1:2 links=4 mtime=9.250000000";
        string[] lines = [.. TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(line => line.Split(" size=")[0])];
        Assert.That(string.Join('\n', lines), Is.EqualTo($"usr mode=40705 owner=3:4 mtime=5.000000000\nusr/w {copy}\nusr/x {copy} same-as=usr/w\ny {copy} same-as=usr/w\nz {copy} same-as=usr/w"));
        Assert.That(File.ReadAllText(sandbox["y"]), Is.EqualTo("content"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("user.a=62"));
    }

    [Test]
    public void A_lower_file_outside_of_the_lower_root_is_not_reached()
    {
        using var lower = new Sandbox();
        lower.Unpack(new TarBuilder().SymbolicLink("out", lower.Canary).SymbolicLink("up", "../../victim"));
        using var sandbox = new Sandbox();
        foreach (string target in new[] { "out/hello", "up/hello", "../victim/hello", "out/../../hello" })
            Assert.That(sandbox.Refusal(new TarBuilder().HardLink("y", target), lower: lower.Root).Kind, Is.EqualTo(SparkFailureKind.Image));
        sandbox.Unpack(new TarBuilder().File("out/new").File("up/new"), Sandbox.Request with { LayersBelow = true }, lower.Root);
        lower.AssertNothingOutsideChanged();
    }

    [Test]
    public void Data_behind_a_hard_link_is_passed_over_and_never_taken_for_an_entry()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("x", "x").Entry(new TarItem("y", '1') { Link = "x" }, TarBuilder.Bytes("data that the link repeats")).File("z", "z"));
        Assert.That(File.ReadAllText(sandbox["y"]) + File.ReadAllText(sandbox["z"]), Is.EqualTo("xz"));

        byte[] hidden = new TarItem("evil", '0').Header(0);
        Assert.That(sandbox.Refusal(new TarBuilder().File("x", "x").Entry(new TarItem("y", '1') { Link = "x" }, hidden)).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [Test]
    public void More_links_than_the_file_system_takes_are_refused()
    {
        // ext4 takes 65,000; memory has no such limit, and /tmp may be memory.
        const string disk = "/var/tmp";
        const long ext4 = 0xEF53;
        if (Libc.FileSystemType(disk) != ext4)
            Assert.Ignore($"{disk} is not on ext4, whose limit this is about.");
        using var sandbox = new Sandbox(disk);
        var archive = new TarBuilder().File("x");
        for (int i = 0; i < 65_001; i++)
            archive.HardLink($"l{i}", "x");
        SparkFailure failure = sandbox.Refusal(archive);
        Assert.That((failure.Kind, failure.Errno), Is.EqualTo((SparkFailureKind.Image, Libc.EMLINK)));
    }

    [Test]
    public void A_link_replaces_what_was_there()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("x", "x").File("f").HardLink("f", "x").Directory("d/e/").HardLink("d", "x").SymbolicLink("l", sandbox.Canary).HardLink("l", "x").HardLink("f", "x"));
        foreach (string name in new[] { "f", "d", "l" })
            Assert.That(File.ReadAllText(sandbox[name]), Is.EqualTo("x"));
    }
}
