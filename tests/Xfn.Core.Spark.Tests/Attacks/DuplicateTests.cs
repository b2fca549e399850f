using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class DuplicateTests
{
    private static readonly string[] Kinds = ["file", "directory", "symlink", "hardlink", "fifo", "whiteout"];

    [Test]
    public void Of_two_entries_of_one_name_the_last_holds([ValueSource(nameof(Kinds))] string first, [ValueSource(nameof(Kinds))] string second)
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder().File("target", "target");
        Add(archive, first, 1);
        if (first == "directory")
            archive.File("x/child");
        Add(archive, second, 2);
        sandbox.Unpack(archive);
        string listing = TreeListing.Of(sandbox.Root);
        // A whiteout is for the layers below: it removes nothing of its own layer.
        string last = second == "whiteout" ? first : second;
        Assert.That(listing, Does.Contain("\nx mode=" + last switch
        {
            "file" => "100644",
            "directory" => "40755",
            "symlink" => "120777",
            "hardlink" => "100644 owner=0:0 links=2 mtime=0.000000000 same-as=target",
            "fifo" => "10644",
            _ => "20000",
        }));
        Assert.That(listing.Contains("x/child", StringComparison.Ordinal), Is.EqualTo(first == "directory" && last == "directory"));
        if (last is "file" or "directory")
            Assert.That(listing, Does.Match($"\nx mode=\\S+ owner=0:0 (links=1 )?mtime={(second == "whiteout" ? 1 : 2)}\\."));
    }

    [Test]
    public void Of_two_entries_of_one_directory_the_last_has_the_attributes([Values("d/", "./")] string name)
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Pax(("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.b", "1")).Directory(name).File("d/.wh..wh..opq").Pax(("SCHILY.xattr.user.b", "2")).Directory(name));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain(" user.b=32").And.Not.Contain("user.a").And.Contain("user.overlay.opaque"));
    }

    [Test]
    public void An_entry_after_the_directory_was_implied_says_as_much_as_one_before([Values] bool after)
    {
        using var lower = new Sandbox();
        lower.Unpack(new TarBuilder().Pax(("SCHILY.xattr.user.below", "1")).Directory("d/", 0b111_000_000, "3", "4", 5));
        using var sandbox = new Sandbox();
        TarBuilder archive = new();
        if (!after)
            archive.Directory("d/", mtime: 7);
        archive.File("d/x");
        if (after)
            archive.Directory("d/", mtime: 7);
        sandbox.Unpack(archive, Sandbox.Request with { LayersBelow = true }, lower.Root);
        Assert.That(TreeListing.Of(sandbox.Root, root: false), Does.StartWith("d mode=40755 owner=0:0 mtime=7.000000000\n"));
    }

    [Test]
    public void Rewriting_one_file_takes_no_more_room()
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 20_000; i++)
            archive.File("x", "content");
        sandbox.Unpack(archive);
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Has.Length.EqualTo(1));
    }

    [Test]
    public void An_upper_layer_that_changes_only_the_mode_has_the_new_mode()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().File("x", "same", 0b110_100_100).File("x", "same", 0b111_101_101));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("x mode=100755"));
    }

    private static void Add(TarBuilder archive, string kind, long mtime) => _ = kind switch
    {
        "file" => archive.File("x", "content", mtime: mtime),
        "directory" => archive.Directory("x/", mtime: mtime),
        "symlink" => archive.SymbolicLink("x", "target"),
        "hardlink" => archive.HardLink("x", "target"),
        "fifo" => archive.Fifo("x"),
        _ => archive.File(".wh.x"),
    };
}
