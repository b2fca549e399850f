using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class WhiteoutTests
{
    private const string Opaque = "user.overlay.opaque=79";

    private static readonly SparkUnpack AboveOthers = Sandbox.Request with { LayersBelow = true };

    [TestCase(".wh.")]
    [TestCase("a/.wh.")]
    [TestCase(".wh..")]
    [TestCase("a/.wh..")]
    [TestCase(".wh...")]
    [TestCase(".wh.x/y")]
    [TestCase("a/.wh.x/y/z")]
    public void Whiteouts_of_nothing_and_directories_named_like_one_are_refused(string name)
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().File("keep").File(name)).Kind, Is.EqualTo(SparkFailureKind.Image));
        Assert.That(File.Exists(sandbox["keep"]));
    }

    [TestCase(".wh.x")]
    [TestCase("a/.wh.x")]
    [TestCase("/a/../.wh.x/b")]
    [TestCase(".wh..wh..opq")]
    [TestCase(".wh..wh.plnk")]
    [TestCase(".wh.")]
    public void No_link_makes_a_directory_that_is_named_like_a_whiteout(string target)
    {
        foreach (string name in new[] { "l/x", "l/y/z", "l/.wh..wh..opq" })
        {
            using var sandbox = new Sandbox();
            Assert.That(sandbox.Refusal(new TarBuilder().SymbolicLink("l", target).File(name)).Kind, Is.EqualTo(SparkFailureKind.Image));
            Assert.That(TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(line => line.Split(' ')[0]), Has.None.Contains(".wh."));
        }

        using var text = new Sandbox();
        text.Unpack(new TarBuilder().SymbolicLink("l", target).File("x").File("l/.wh.x"));
        Assert.That(Directory.GetFileSystemEntries(text.Root), Has.Length.EqualTo(2), "a whiteout in a directory that is nowhere makes none");
        Assert.That(new FileInfo(text["l"]).LinkTarget, Is.EqualTo(target), "a link may name anything");
    }

    [Test]
    public void A_whiteout_becomes_a_device_that_overlayfs_knows()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder().Directory("d/", mtime: 7).File("d/.wh.gone", "content is ignored").File(".wh.top").File("other"), AboveOthers);
        Assert.That(result.WhiteoutDirectories, Is.EqualTo(new[] { "d" }));
        string listing = TreeListing.Of(sandbox.Root);
        Assert.That(listing, Does.Contain("d/gone mode=20000 owner=0:0").And.Contain("device=0:0").And.Contain("\ntop mode=20000").And.Contain("\nd mode=40755 owner=0:0 mtime=7.0").And.Contain("\nother"));
        Assert.That(listing, Does.Not.Contain(".wh."));
    }

    [Test]
    public void What_the_layer_has_itself_survives_its_whiteouts_in_any_order([Values] bool before)
    {
        using var sandbox = new Sandbox();
        TarBuilder archive = new();
        if (before)
            archive.File(".wh.foo").File(".wh.dir").File(".wh.link").File(".wh.implied");
        archive.File("foo", "mine").Directory("dir/").File("dir/new").SymbolicLink("link", "/").File("implied/x");
        if (!before)
            archive.File(".wh.foo").File(".wh.dir").File(".wh.link").File(".wh.implied");
        sandbox.Unpack(archive);
        string listing = TreeListing.Of(sandbox.Root);
        Assert.That(File.ReadAllText(sandbox["foo"]), Is.EqualTo("mine"));
        Assert.That(listing, Does.Match($"\ndir mode=40755 .*{Opaque}\n").And.Match($"\nimplied mode=40755 .*{Opaque}\n").And.Contain("dir/new").And.Contain("implied/x").And.Contain("-> /"));
        Assert.That(listing, Does.Not.Contain("device"));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void An_opaque_marker_has_one_effect_wherever_it_stands(int at)
    {
        using var sandbox = new Sandbox();
        (string Name, bool Directory)[] entries = [("a/", true), ("a/b/c/foo", false), ("a/sub/new", false)];
        var archive = new TarBuilder();
        for (int i = 0; i <= entries.Length; i++)
        {
            if (i == at)
                archive.File("a/.wh..wh..opq");
            if (i < entries.Length)
                _ = entries[i].Directory ? archive.Directory(entries[i].Name, mtime: 3) : archive.File(entries[i].Name);
        }

        sandbox.Unpack(archive);
        Assert.That(TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(line => line.Split(' ')[0]), Is.EqualTo("a a/b a/b/c a/b/c/foo a/sub a/sub/new".Split(' ')));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain($"\na mode=40755 owner=0:0 mtime=3.000000000 {Opaque}\n"));
    }

    [Test]
    public void An_opaque_root_is_reported()
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Unpack(new TarBuilder().File(".wh.x").File(".wh..wh..opq").File("y")).OpaqueRoot);
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.EqualTo(new[] { sandbox["y"] }), "a whiteout has nothing to hide");
    }

    [Test]
    public void An_opaque_marker_makes_its_directory()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("missing/dir/.wh..wh..opq").File("file", "x").File("file/.wh..wh..opq"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Match($"missing/dir mode=40755.*{Opaque}").And.Match($"\nfile mode=40755.*{Opaque}"));
    }

    [Test]
    public void An_opaque_directory_lists_no_ghosts([Values] bool before)
    {
        using var sandbox = new Sandbox();
        TarBuilder archive = new TarBuilder().Directory("a/");
        if (before)
            archive.File("a/.wh..wh..opq");
        archive.File("a/.wh.ghost").Directory("a/b/").File("a/b/.wh.ghost").File("a/b/real").Directory("ab/").File("ab/.wh.kept");
        if (!before)
            archive.File("a/.wh..wh..opq");
        sandbox.Unpack(archive, AboveOthers);
        Assert.That(TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(line => line.Split(' ')[0]), Is.EqualTo("a a/b a/b/real ab ab/kept".Split(' ')));
    }

    [Test]
    public void A_directory_that_the_layers_below_lack_lists_no_ghosts([Values] bool bottom)
    {
        using var lower = new Sandbox();
        lower.Unpack(new TarBuilder().Directory("has/").File("has/gone").File("file").SymbolicLink("link", "has"));
        using var sandbox = new Sandbox();
        TarBuilder archive = new TarBuilder().Directory("has/").File("has/.wh.gone").Directory("own/").File("own/.wh.ghost").Directory("own/deep/").File("own/deep/.wh.ghost")
            .Directory("file/").File("file/.wh.ghost").Directory("link/").File("link/.wh.ghost").File(".wh.top");
        SparkUnpacked result = sandbox.Unpack(archive, bottom ? null : AboveOthers, bottom ? null : lower.Root);
        Assert.That(
            TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(line => line.Split(' ')[0]),
            Is.EqualTo($"file has {(bottom ? "" : "has/gone ")}link own own/deep top".Split(' ')));
        Assert.That(result.WhiteoutDirectories, Is.Empty, "nothing is left to be known");
    }

    [Test]
    public void Whiteouts_in_more_directories_than_are_kept_need_the_layers_below()
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 257; i++)
            archive.Directory($"{i}/").File($"{i}/.wh.x");
        Assert.That(sandbox.Refusal(archive, AboveOthers).Kind, Is.EqualTo(SparkFailureKind.NeedsParents));
        using var text = new Sandbox();
        Assert.That(text.Refusal(new TarBuilder().Directory("\xff/").File("\xff/.wh.x"), AboveOthers).Kind, Is.EqualTo(SparkFailureKind.NeedsParents), "a name that is no text");
    }

    [Test]
    public void Whiteouts_act_inside_the_root()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().SymbolicLink("l", "/etc").File("l/.wh.passwd").SymbolicLink("out", sandbox.Canary).File("out/.wh.hello").File("out/.wh..wh..opq")
            .File("dne/../.wh.etc2").File("../../.wh.victim").File("../.wh..wh..opq").SymbolicLink("t", "x").File(".wh.t"));
        string listing = TreeListing.Of(sandbox.Root);
        Assert.That(listing, Does.Contain("l mode=120777").And.Contain("t mode=120777"));
        Assert.That(File.Exists("/etc/passwd"));
    }

    [TestCase('1')]
    [TestCase('2')]
    [TestCase('3')]
    [TestCase('5')]
    [TestCase('6')]
    public void The_name_alone_makes_a_whiteout(char type)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(
            new TarBuilder().File("x").Directory("d/").Entry(new TarItem("d/.wh.gone" + (type == '5' ? "/" : ""), type) { Link = "x" }).Directory("e/").Entry(new TarItem("e/.wh..wh..opq", type) { Link = "x" }),
            AboveOthers);
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("d/gone mode=20000").And.Match($"e mode=40755.*{Opaque}").And.Not.Contain(".wh."));
    }

    [Test]
    public void Files_of_AUFS_are_ignored()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory(".wh..wh.plnk/").File(".wh..wh.plnk/1.2", "x").File(".wh..wh.aufs").Directory("a/.wh..wh.orph/"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Not.Contain("wh."));
    }

    [Test]
    public void An_archive_cannot_fake_what_overlayfs_marks_with()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder()
            .Pax(("SCHILY.xattr.user.overlay.opaque", "y"), ("SCHILY.xattr.user.overlay.redirect", "/etc"), ("SCHILY.xattr.trusted.overlay.opaque", "y"), ("SCHILY.xattr.user.good", "1")).Directory("d/")
            .Pax(("SCHILY.xattr.user.overlay.whiteout", "y")).File("f").Pax(("SCHILY.xattr.user.overlay.opaque", "y")).Directory("./").Entry(new TarItem("c", '3')));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Not.Contain("overlay").And.Contain("user.good").And.Not.Contain("device"));
        Assert.That(result.Warnings, Has.Count.EqualTo(5));
        Assert.That(result.OpaqueRoot, Is.False);
    }

    [Test]
    public void A_directory_that_replaces_something_of_its_layer_shows_nothing_from_below()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("f").Directory("f/").SymbolicLink("l", "x").Directory("l/").Directory("d/").Directory("d/").File(".wh.w").Directory("w/").File(".wh.i").File("i/x"));
        string listing = TreeListing.Of(sandbox.Root);
        foreach (string name in new[] { "f", "l", "w", "i" })
            Assert.That(listing, Does.Match($"\n{name} mode=40755.*{Opaque}"));
        Assert.That(listing, Does.Not.Match($"\nd mode=40755.*{Opaque}"));
    }

    [Test]
    public void An_opaque_directory_that_is_replaced_and_made_again_is_opaque_again([Values("file", "link", "hard link", "fifo")] string between, [Values] bool implied)
    {
        using var sandbox = new Sandbox();
        TarBuilder archive = new TarBuilder().File("t").File("x/.wh..wh..opq");
        _ = between switch
        {
            "file" => archive.File("x"),
            "link" => archive.SymbolicLink("x", "t"),
            "hard link" => archive.HardLink("x", "t"),
            _ => archive.Fifo("x"),
        };
        if (implied && between != "link")
            archive.File("x/y");
        else
            archive.Directory("x/").File("x/y");
        sandbox.Unpack(archive);
        Assert.That(TreeListing.Of(sandbox.Root), Does.Match($"\nx mode=40755.*{Opaque}\n").And.Contain("x/y mode"));
    }
}
