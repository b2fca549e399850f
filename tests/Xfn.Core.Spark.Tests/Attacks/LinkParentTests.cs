using Xfn.Core.Interop;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

/// <summary>Symbolic links as parents of entries.</summary>
internal sealed class LinkParentTests
{
    [TestCase("/etc")]
    [TestCase("etc")]
    [TestCase("./etc")]
    [TestCase("../etc")]
    [TestCase("../../../../etc")]
    [TestCase("/dummy/../etc")]
    [TestCase("/../../etc")]
    [TestCase("upandout/../../../etc")]
    public void Links_to_directories_are_followed_inside_the_root(string target)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("etc/").Directory("upandout/").SymbolicLink("localetc", target).File("localetc/unbroken", "in"));
        Assert.That(File.ReadAllText(sandbox["etc/unbroken"]), Is.EqualTo("in"));
        Assert.That(new FileInfo(sandbox["localetc"]).LinkTarget, Is.EqualTo(target));
    }

    [Test]
    public void Chains_of_links_are_followed_inside_the_root()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("a/b/").SymbolicLink("1", "/2").SymbolicLink("2", "a/3").SymbolicLink("a/3", "../../a/b").File("1/x", "x").File("1/y/z", "z"));
        Assert.That(File.ReadAllText(sandbox["a/b/x"]) + File.ReadAllText(sandbox["a/b/y/z"]), Is.EqualTo("xz"));
    }

    [Test]
    public void Links_that_lead_out_do_not()
    {
        foreach (string target in new[] { "..", "../victim", "../../victim", "/..", "../root-evil", "CANARY" })
        {
            using var sandbox = new Sandbox();
            string to = target.Replace("CANARY", sandbox.Canary, StringComparison.Ordinal);
            sandbox.Unpack(new TarBuilder().SymbolicLink("escape", to).File("escape/hello", "x").File("escape/sub/x", "x").SymbolicLink("escape/absolute", sandbox.Canary)
                .File("escape/absolute/hello", "x").Directory("escape/absolute/sub/", 0).File("escape/.wh.hello").File("escape/absolute/.wh.sub").HardLink("h", "escape/hello"));
        }
    }

    [Test]
    public void Loops_of_links_are_refused()
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().SymbolicLink("a", "b").SymbolicLink("b", "a").File("a/x")).Errno, Is.EqualTo(Libc.ELOOP));
        var chain = new TarBuilder().Directory("end/");
        for (int i = 0; i < 41; i++)
            chain.SymbolicLink($"l{i}", i == 40 ? "end" : $"l{i + 1}");
        Assert.That(sandbox.Refusal(chain.File("l0/x")).Errno, Is.EqualTo(Libc.ELOOP));
    }

    [Test]
    public void A_link_that_grows_by_itself_is_refused()
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().SymbolicLink("a", "a/a/a/a").File("a/x")).Errno, Is.EqualTo(Libc.ELOOP));
    }

    [Test]
    public void A_missing_directory_that_a_link_names_is_made()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("var/").SymbolicLink("var/run", "/run").File("var/run/a/b/file", "x"));
        Assert.That(File.ReadAllText(sandbox["run/a/b/file"]), Is.EqualTo("x"));
        Assert.That(new FileInfo(sandbox["var/run"]).LinkTarget, Is.EqualTo("/run"));
    }

    [TestCase("/proc/self/root")]
    [TestCase("/proc/self/cwd")]
    [TestCase("/proc/self/fd/3")]
    [TestCase("/proc/1/root/tmp")]
    public void Magic_links_are_only_names(string target)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().SymbolicLink("p", target).File("p/x", "x"));
        Assert.That(File.ReadAllText(sandbox[target.TrimStart('/') + "/x"]), Is.EqualTo("x"));
    }

    [Test]
    public void A_file_replaces_a_link_and_leaves_its_target()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("t", "old").SymbolicLink("l", "t").File("l", "new").SymbolicLink("m", sandbox.Canary + "/hello").File("m", "new", mode: 0));
        Assert.That(File.ReadAllText(sandbox["t"]) + File.ReadAllText(sandbox["l"]) + File.ReadAllText(sandbox["m"]), Is.EqualTo("oldnewnew"));
        Assert.That(new FileInfo(sandbox["l"]).LinkTarget, Is.Null);
    }

    [Test]
    public void A_directory_replaces_a_link_to_a_directory()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("t/").File("t/old").SymbolicLink("l", "t").Directory("l/").File("l/new").SymbolicLink("m", sandbox.Canary).Directory("m/", 0, "5", "5").File("m/hello"));
        Assert.That(Directory.GetFileSystemEntries(sandbox["l"]), Is.EqualTo(new[] { sandbox["l/new"] }));
        Assert.That(Directory.GetFileSystemEntries(sandbox["t"]), Is.EqualTo(new[] { sandbox["t/old"] }));
        Assert.That(new FileInfo(sandbox["m"]).LinkTarget, Is.Null);
    }

    [Test]
    public void Metadata_of_a_link_does_not_reach_its_target()
    {
        using var sandbox = new Sandbox();
        foreach (string target in new[] { sandbox.Canary, sandbox.Canary + "/hello", "../victim/hello" })
        {
            sandbox.Unpack(new TarBuilder().Pax(("mtime", "5.5"), ("SCHILY.xattr.user.x", "y")).Entry(new TarItem("l", '2') { Link = target, Mode = "0000000\0", Uid = "9", Gid = "9" })
                .Pax(("SCHILY.xattr.user.x", "y")).HardLink("h", "l"));
            Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("h mode=120777 owner=9:9 links=2 mtime=5.500000000"));
            Sandbox.Remove(sandbox["h"]);
        }
    }

    [Test]
    public void A_file_in_the_way_of_a_directory_is_replaced()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("nondir", "x").File("nondir/foo/bar/baz", "y").Fifo("f").Directory("f/g/"));
        Assert.That(File.ReadAllText(sandbox["nondir/foo/bar/baz"]), Is.EqualTo("y"));
        Assert.That(Directory.Exists(sandbox["f/g"]));
    }

    [Test]
    public void A_directory_that_was_entered_and_then_replaced_by_a_link_is_not_written_through()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("d/", 0b111_000_000, mtime: 7).File("d/x", "1").SymbolicLink("d", sandbox.Canary).File("d/hello", "2").File("d/sub/x", "2")
            .Directory("e/").File("e/x").SymbolicLink("e", "../victim").HardLink("e/hello2", "d/hello").File("e/.wh.sub"));
        Assert.That(File.ReadAllText(sandbox[sandbox.Canary[1..] + "/hello"]), Is.EqualTo("2"));
    }

    [Test]
    public void Directories_reached_through_a_link_that_is_replaced_later_keep_their_own_metadata()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("usr/lib/").SymbolicLink("lib", "usr/lib").Directory("lib/x/", 0b010_101_000_111, "3", "4", 99).Directory("lib/", mtime: 5).Directory("lib/x/", mtime: 6));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("usr/lib/x mode=42507 owner=3:4 mtime=99.").And.Contain("lib mode=40755 owner=0:0 mtime=5.").And.Contain("lib/x mode=40755 owner=0:0 mtime=6."));
    }
}
