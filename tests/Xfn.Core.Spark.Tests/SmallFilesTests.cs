using System.Globalization;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>Small files are made by two threads: the outcome is that of one.</summary>
[CancelAfter(120_000)]
internal sealed class SmallFilesTests
{
    [Test]
    public void Two_threads_make_what_one_makes_whatever_else_has_the_names(CancellationToken token)
    {
        foreach (int seed in LongMode.Seeds(60, token))
        {
            byte[] archive = Archive(new Random(seed));
            Assert.That(Outcome(archive, mayStartThread: true), Is.EqualTo(Outcome(archive, mayStartThread: false)), $"seed {seed}");
        }
    }

    [Test]
    public void Twenty_thousand_files_are_as_tar_makes_them()
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 20_000; i++)
        {
            if (i % 1000 == 0)
                archive.Directory($"d{i / 1000}/", mtime: 5);
            archive.File($"d{i / 1000}/f{i}", new string('x', i % 300), i % 7 == 0 ? 0b100_111_101_101u : 0b110_100_100u, mtime: 1000 + i);
        }

        sandbox.Unpack(archive);
        Assert.That(TreeListing.Of(sandbox.Root, root: false), Is.EqualTo(GnuTar.Unpack(Path.Combine(sandbox.Base, "archive.tar"), sandbox.Base)));
    }

    [Test]
    public void What_cannot_be_made_is_told_before_what_is_wrong_behind_it([Values] bool mayStartThread)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may mount a small file system.");
        string small = Directory.CreateTempSubdirectory("xfn-small-").FullName;
        Tool.Run("mount", "-t", "tmpfs", "-o", "nr_inodes=70", "tmpfs", small);
        try
        {
            using var sandbox = new Sandbox(small);
            var archive = new TarBuilder();
            for (int i = 0; i < 100; i++)
                archive.File($"f{i}", "content");
            archive.Entry(new TarItem("damaged", '0') { BadChecksum = true });
            SparkFailure failure = Assert.Throws<SparkException>(() => sandbox.Unpack(archive, mayStartThread: mayStartThread))!.Failure;
            Assert.That(failure.Kind, Is.EqualTo(SparkFailureKind.Environment));
            Assert.That(failure.Message, Does.StartWith("cannot unpack layer entry 'f").And.EndWith("No space left on device"));
        }
        finally
        {
            Tool.Run("umount", small);
            Directory.Delete(small);
        }
    }

    /// <summary>Mostly small files, of so few names that they meet each other, links, directories and large files.</summary>
    private static byte[] Archive(Random random)
    {
        var archive = new TarBuilder();
        string directory = "a", file = "a/f0";
        for (int i = 0; i < 400; i++)
        {
            if (random.Next(20) == 0)
                directory = random.Next(4) switch { 0 => "a", 1 => "b", 2 => "a/f1", _ => "link" };
            string name = string.Create(CultureInfo.InvariantCulture, $"{directory}/f{random.Next(40)}");
            int kind = random.Next(60);
            _ = kind switch
            {
                0 => archive.Directory(name + "/", mtime: i),
                1 => archive.SymbolicLink(name, random.Next(2) == 0 ? "f2" : "/b"),
                2 => archive.HardLink(name, random.Next(30) == 0 ? "nothing" : file),
                3 => archive.Fifo(name),
                4 => archive.File($"{directory}/.wh.f{random.Next(40)}"),
                5 => archive.File(name, new string('l', 40_000), mtime: i),
                6 => archive.SymbolicLink("link", random.Next(2) == 0 ? "a" : "b"),
                7 => archive.Pax(("SCHILY.xattr.user.a", "1")).File(name, "with an attribute", mtime: i),
                _ => archive.File(name, new string((char)('a' + i % 26), random.Next(300)), (uint)random.Next(0x1000), i % 3 == 0 ? "7" : "0", "0", i),
            };
            if (kind >= 8)
                file = name;
        }

        return archive.ToArray();
    }

    private static string Outcome(byte[] archive, bool mayStartThread)
    {
        using var sandbox = new Sandbox();
        try
        {
            SparkUnpacked unpacked = sandbox.Unpack(archive, mayStartThread: mayStartThread);
            return $"{unpacked with { Warnings = [], WhiteoutDirectories = [] }}\n{TreeListing.Of(sandbox.Root, root: false)}";
        }
        catch (SparkException ex)
        {
            return $"refused {ex.Failure}";
        }
    }
}
