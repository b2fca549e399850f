using System.Text;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

/// <summary>Names that entries have.</summary>
internal sealed class NameTests
{
    [TestCase("../victim/x", "victim/x")]
    [TestCase("/../victim/x", "victim/x")]
    [TestCase("a/../../victim/x", "victim/x")]
    [TestCase("../../../../../../../../../../../../../../../../../../../../../../../../../../../../../../victim/x", "victim/x")]
    [TestCase("./.././../x", "x")]
    [TestCase("/etc/x", "etc/x")]
    [TestCase("//etc///./x", "etc/x")]
    [TestCase("root-evil/../x", "x")]
    public void Names_that_lead_out_end_at_the_root(string name, string path)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File(name, "new"));
        Assert.That(File.ReadAllText(sandbox[path]), Is.EqualTo("new"));
    }

    [TestCase("..")]
    [TestCase("../..")]
    [TestCase("a/..")]
    [TestCase(".")]
    [TestCase("/.")]
    [TestCase("/")]
    [TestCase("")]
    [TestCase("./")]
    public void The_root_stays_a_directory(string name)
    {
        foreach (char type in "012346")
        {
            // A regular file whose name ends in a slash is a directory.
            if (type == '0' && name.EndsWith('/'))
                continue;
            using var sandbox = new Sandbox();
            var archive = new TarBuilder().Entry(new TarItem(name, type) { Link = "/tmp" }).File("x", "x");
            if (type is '3' or '4')
                Assert.That(sandbox.Refusal(archive).Kind, Is.EqualTo(SparkFailureKind.Image));
            else
                Assert.That(sandbox.Refusal(archive).Message, Does.Contain("root").And.Contain("no directory"));
        }
    }

    [TestCase(".")]
    [TestCase("./")]
    [TestCase("/")]
    [TestCase("")]
    [TestCase("..")]
    public void A_directory_entry_for_the_root_sets_its_mode_owner_and_time(string name)
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder().Directory(name, 0b001_111_101_000, "7", "8", 1234).File("x"));
        Assert.That(result, Has.Property(nameof(result.HasRoot)).True.And.Property(nameof(result.RootMode)).EqualTo(0b001_111_101_000u)
            .And.Property(nameof(result.RootUid)).EqualTo(7u).And.Property(nameof(result.RootGid)).EqualTo(8u));
        Assert.That(TreeListing.Of(sandbox.Root), Does.StartWith(". mode=41750 owner=7:8 mtime=1234.000000000\n"));
    }

    [Test]
    public void Without_an_entry_the_root_is_reported_as_an_ordinary_one()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder().File("x"));
        Assert.That(result, Has.Property(nameof(result.HasRoot)).False.And.Property(nameof(result.RootMode)).EqualTo(0b111_101_101u));
    }

    [Test]
    public void A_prefix_that_leads_out_ends_at_the_root()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Entry(new TarItem("name", '0') { Prefix = "../../etc" }));
        Assert.That(File.Exists(sandbox["etc/name"]));
    }

    [Test]
    public void A_component_has_at_most_255_bytes()
    {
        using var sandbox = new Sandbox();
        string longest = new('n', 255);
        sandbox.Unpack(new TarBuilder().GnuLong('L', longest).File("x").GnuLong('L', longest + "/" + longest).File("x"));
        Assert.That(Directory.Exists(sandbox[longest]));
        Assert.That(sandbox.Refusal(new TarBuilder().GnuLong('L', longest + "n").File("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(sandbox.Refusal(new TarBuilder().GnuLong('L', longest + "n/x").File("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(sandbox.Refusal(new TarBuilder().GnuLong('L', ".wh." + longest + "n").File("x")).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [Test]
    public void A_path_longer_than_the_kernel_takes_is_unpacked_part_by_part()
    {
        using var sandbox = new Sandbox();
        string path = string.Join('/', Enumerable.Range(0, 30).Select(i => new string((char)('a' + i % 26), 200)));
        sandbox.Unpack(new TarBuilder().Pax(("path", path)).File("x", "deep").Pax(("path", path + "2"), ("linkpath", path)).HardLink("y", "x")
            .Pax(("path", "short")).File("x", "s"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain(path + " mode=100644").And.Contain("short mode"));
    }

    [Test]
    public void Depth_is_limited_and_what_is_deep_can_be_removed()
    {
        using var sandbox = new Sandbox();
        string deep = string.Concat(Enumerable.Repeat("d/", 4_000));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("path", deep)).Directory("x")).Kind, Is.EqualTo(SparkFailureKind.Limit));
        sandbox.Unpack(new TarBuilder().Pax(("path", deep)).Directory("x"), Sandbox.Request with { MaxDepth = 4_000, MaxNameBytes = 1 << 20 });

        var nested = new TarBuilder();
        for (int depth = 1; depth <= 2_500; depth++)
            nested.Pax(("path", string.Concat(Enumerable.Repeat("n/", depth)))).Directory("x");
        Assert.That(sandbox.Refusal(nested).Message, Does.Contain("MaxDepth"));
    }

    [Test]
    public void Names_need_not_be_text()
    {
        using var sandbox = new Sandbox();
        string[] names = ["a\u00ff", "a\u00fe", "caf\u00e9", "new\nline", "back\\slash", "tab\t", "co:lon,comma", "e\u00cc\u0081", "\u00c3\u00a9", "case", "CASE", "'\"$", "-rf", "a\u0001"];
        var archive = new TarBuilder();
        foreach (string name in names)
            archive.File(name, name);
        foreach (string name in names)
            archive.Pax(("path", "pax-" + name)).File("x", name);
        sandbox.Unpack(archive);
        string listing = TreeListing.Of(sandbox.Root);
        Assert.That(listing.Split(" mode=").Length - 2, Is.EqualTo(names.Length * 2));
        foreach (string name in names)
            Assert.That(listing, Does.Contain("\n" + name + " mode=").And.Contain("\npax-" + name + " mode="));
    }

    [TestCase("path")]
    [TestCase("linkpath")]
    [TestCase("GNU.sparse.name")]
    [TestCase("SCHILY.xattr.user.a\0b")]
    public void A_NUL_in_a_pax_name_is_refused(string key)
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().Pax((key, "x\0/etc/passwd")).SymbolicLink("x", "y")).Kind, Is.EqualTo(SparkFailureKind.Image));
    }

    [TestCase(false, '0')]
    [TestCase(true, '\0')]
    [TestCase(true, '0')]
    public void A_file_whose_name_ends_in_a_slash_is_a_directory(bool v7, char type)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Entry(new TarItem("d/", type) { V7 = v7, Mode = "0000750\0" }).File("d/x"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("\nd mode=40750").And.Contain("d/x mode"));
    }

    [Test]
    public void A_long_name_of_GNU_holds_for_the_next_entry_only()
    {
        using var sandbox = new Sandbox();
        string name = string.Concat(Enumerable.Repeat("long/", 40)) + "name";
        sandbox.Unpack(new TarBuilder().GnuLong('L', name).GnuLong('K', name + "-target").SymbolicLink("x", "y").File("z"));
        string listing = TreeListing.Of(sandbox.Root);
        Assert.That(listing, Does.Contain(name + " mode=120777").And.Contain("-> " + name + "-target").And.Contain("\nz mode"));
    }

    [Test]
    public void Messages_show_names_that_are_no_text()
    {
        using var sandbox = new Sandbox();
        SparkFailure failure = sandbox.Refusal(new TarBuilder().Entry(new TarItem("a\u00ff\n\u001b[31m", 'Z')));
        Assert.That(failure.Message, Is.EqualTo("cannot unpack layer entry 'a\\xff\\x0a\\x1b[31m' at byte 0: its type 'Z' is not one that layers have"));
        Assert.That(Encoding.UTF8.GetBytes(failure.Message), Has.Length.LessThan(2000));
    }
}
