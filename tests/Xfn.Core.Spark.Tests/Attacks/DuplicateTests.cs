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
    public void Rewriting_one_file_takes_no_more_room()
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 100_000; i++)
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
