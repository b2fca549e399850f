using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>An overlay of layers, a flattened directory, and umoci's directory of the image are the same.</summary>
[CancelAfter(120_000)]
internal sealed class StackTests
{
    private static readonly Dictionary<string, TarBuilder[]> Images = new()
    {
        ["a lower file is changed, deleted, replaced"] =
        [
            Base(),
            new TarBuilder().Directory("etc/", mtime: 9).File("etc/passwd", "new", 0b110_000_000, mtime: 4).File("etc/.wh.shadow").Directory("usr/").SymbolicLink("usr/bin", "/bin2"),
            new TarBuilder().Directory("etc/", 0b111_000_111, "4", "5", 11).SymbolicLink("etc/passwd", "shadow").File("etc/shadow", "back"),
        ],
        ["directories are opaque"] =
        [
            Base(),
            new TarBuilder().Directory("etc/").File("etc/.wh..wh..opq").File("etc/only", "1").Directory("usr/").Directory("usr/share/").File("usr/share/.wh..wh..opq"),
            new TarBuilder().Directory("etc/").File("etc/second", "2").Directory("usr/").Directory("usr/share/").File("usr/share/x"),
        ],
        ["a directory is deleted and made again"] = [Base(), new TarBuilder().File(".wh.etc").File(".wh.usr"), new TarBuilder().Directory("etc/").File("etc/x", "x").Directory("usr/")],
        ["a directory is deleted and made again in one layer"] = [Base(), new TarBuilder().Directory("etc/").File("etc/new").File(".wh.etc").Directory("usr/").File("usr/.wh.share").Directory("usr/share/").File("usr/share/y")],
        ["hard links"] = [Base().HardLink("usr/bin/again", "usr/bin/tool").HardLink("top", "/usr/bin/tool"), new TarBuilder().Directory("usr/").Directory("usr/bin/").File("usr/bin/tool", "other").HardLink("usr/bin/third", "usr/bin/tool")],
        ["directories without entries have the lower layers' modes"] = [Base().Directory("tmp/", 0b001_111_111_111, "1", "2", 77), new TarBuilder().File("tmp/x").File("etc/deep/er/x", mtime: 3)],
        ["a lower link is followed"] = [Base().SymbolicLink("lib", "usr/lib").Directory("usr/lib/").SymbolicLink("var", "/run/none"), new TarBuilder().File("lib/systemd/x", "x").File("var/log/y", "y")],
        ["the whole is opaque"] = [Base(), new TarBuilder().File("gone"), new TarBuilder().File(".wh..wh..opq").File("alone", "x")],
        ["types change"] = [Base(), new TarBuilder().File("etc", "a file now").Directory("usr/").Directory("usr/bin/").Directory("usr/bin/tool/").File("usr/bin/tool/x"), new TarBuilder().Directory("etc/").File("etc/x").Directory("usr/").Fifo("usr/bin")],
    };

    [Test]
    public void Overlay_and_flattened_directory_show_the_same([ValueSource(nameof(Names))] string name)
    {
        using var stack = new Stack();
        foreach (TarBuilder layer in Images[name])
            stack.Add(layer.ToArray());
        Assert.That(Stack.WithoutLinkCounts(TreeListing.Of(stack.Flatten(), root: false)), Is.EqualTo(stack.ListOverlay()));
    }

    [Test]
    public void Both_are_what_umoci_makes_of_the_image([ValueSource(nameof(Names))] string name)
    {
        using var stack = new Stack();
        foreach (TarBuilder layer in Images[name])
            stack.Add(layer.ToArray());
        string work = Directory.CreateDirectory("/tmp/xfn-umoci-" + Path.GetRandomFileName()).FullName;
        try
        {
            Tool.Run("umoci", "init", "--layout", work + "/layout");
            Tool.Run("umoci", "new", "--image", work + "/layout:x");
            for (int i = 0; i < Images[name].Length; i++)
            {
                File.WriteAllBytes($"{work}/{i}.tar", Images[name][i].ToArray());
                Tool.Run("umoci", "raw", "add-layer", "--image", work + "/layout:x", $"{work}/{i}.tar");
            }

            Tool.Run("umoci", "raw", "unpack", "--image", work + "/layout:x", work + "/root");
            Assert.That(Comparable(TreeListing.Of(stack.Flatten(), root: false)), Is.EqualTo(Comparable(TreeListing.Of(work + "/root", root: false))));
        }
        finally
        {
            Sandbox.Remove(work);
        }
    }

    [Test]
    public void An_upper_entry_replaces_a_lower_one_of_its_name_whatever_both_are([ValueSource(nameof(Kinds))] string lower, [ValueSource(nameof(Kinds))] string upper)
    {
        using var stack = new Stack();
        TarBuilder below = Add(new TarBuilder().File("target", "target"), lower);
        stack.Add((lower == "directory" ? below.File("x/child") : below).ToArray());
        stack.Add(Add(new TarBuilder().File("target", "target"), upper).ToArray());
        string listing = stack.ListOverlay();
        Assert.That(Stack.WithoutLinkCounts(TreeListing.Of(stack.Flatten(), root: false)), Is.EqualTo(listing));
        Assert.That(listing.Split('\n').LastOrDefault(line => line.StartsWith("x ", StringComparison.Ordinal)) ?? "x mode=none", Does.StartWith("x mode=" + upper switch
        {
            "file" => "100600 ",
            "directory" => "40700 ",
            "symlink" => "120777 ",
            "hardlink" => "100644 ",
            "fifo" => "10644 ",
            _ => "none",
        }));
        Assert.That(listing.Contains("x/child", StringComparison.Ordinal), Is.EqualTo(lower == "directory" && upper == "directory"));
    }

    [Test]
    public void An_upper_layer_that_changes_only_the_mode_of_a_file_has_the_new_mode()
    {
        using var stack = new Stack();
        stack.Add(new TarBuilder().Directory("bin/").File("bin/x", "same").ToArray());
        stack.Add(new TarBuilder().Directory("bin/").File("bin/x", "same", 0b111_101_101).ToArray());
        Assert.That(stack.ListOverlay(), Does.Contain("bin/x mode=100755"));
    }

    [Test]
    public void Random_stacks_show_the_same_as_overlay_and_flattened(CancellationToken token)
    {
        foreach (int seed in LongMode.Seeds(40, token))
        {
            var random = new Random(seed);
            using var stack = new Stack();
            for (int layers = random.Next(1, 6); layers > 0; layers--)
            {
                byte[] archive = RandomArchive.Whiteouts(random);
                try
                {
                    stack.Add(archive);
                }
                catch (SparkException ex) when (ex.Failure.Kind is SparkFailureKind.Image or SparkFailureKind.NeedsParents)
                {
                    // A hard link to what is not there.
                }
            }

            Assert.That(stack.ListOverlay(), Is.EqualTo(Stack.WithoutLinkCounts(TreeListing.Of(stack.Flatten(), root: false))), $"seed {seed}");
        }
    }

    private static readonly string[] Kinds = ["file", "directory", "symlink", "hardlink", "fifo", "whiteout"];

    private static IEnumerable<string> Names => Images.Keys;

    private static TarBuilder Add(TarBuilder archive, string kind) => kind switch
    {
        "file" => archive.File("x", "content", 0b110_000_000),
        "directory" => archive.Directory("x/", 0b111_000_000),
        "symlink" => archive.SymbolicLink("x", "target"),
        "hardlink" => archive.HardLink("x", "target"),
        "fifo" => archive.Fifo("x"),
        _ => archive.File(".wh.x"),
    };

    private static TarBuilder Base() => new TarBuilder().Directory("./").Directory("etc/", mtime: 1).File("etc/passwd", "old", mtime: 2).File("etc/shadow", "secret", 0b110_100_000, "0", "42", 3)
        .Directory("usr/").Directory("usr/bin/").File("usr/bin/tool", "tool", 0b100_111_101_101).Directory("usr/share/").File("usr/share/doc", "doc").SymbolicLink("bin", "usr/bin");

    // umoci gives directories without an entry the time of unpacking.
    private static string Comparable(string listing) => string.Join('\n', listing.Split('\n').Select(line => line.Contains(" mode=4", StringComparison.Ordinal) ? line.Split(" mtime=")[0] : line.Replace(" user.overlay.opaque=79", "", StringComparison.Ordinal)));
}
