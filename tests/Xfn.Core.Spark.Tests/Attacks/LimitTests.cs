using System.Globalization;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

/// <summary>What goes over a limit is refused by the limit's name, before it is written.</summary>
internal sealed class LimitTests
{
    // Unpacked to memory, where blocks are the machine's pages.
    private static readonly int Page = Environment.SystemPageSize;
    private static readonly SparkUnpack Request = Sandbox.Request with { MaxBytes = 4 * Page, MaxEntries = 4, MaxNameBytes = 20, MaxDepth = 4 };

    private static readonly Dictionary<string, (TarBuilder Archive, string Option)> TooMuch = new()
    {
        ["files are too large together"] = (new TarBuilder().File("a", new string('x', 2 * Page + 1)).File("b", new string('x', 2 * Page + 1)), "MaxLayerBytes"),
        ["one file is too large"] = (new TarBuilder().File("a", new string('x', 4 * Page + 1)), "MaxLayerBytes"),
        ["small files take a block each"] = (new TarBuilder().Directory("d/").File("d/a", "x").File("d/b", "x").File("d/c", new string('x', Page + 1)), "MaxLayerBytes"),
        ["a hole counts"] = (new TarBuilder().Pax(("GNU.sparse.size", $"{4 * Page + 1}"), ("GNU.sparse.map", "0,4")).File("s", "data"), "MaxLayerBytes"),
        ["a hole of nearly all there is"] = (new TarBuilder().Pax(("GNU.sparse.size", "9223372036854775807"), ("GNU.sparse.map", "0,4")).File("s", "data"), "MaxLayerBytes"),
        ["whiteouts and implied directories take room"] = (new TarBuilder().File("a/d", "x").File("a/.wh.c").File("e", new string('x', Page + 1)), "MaxLayerBytes"),
        ["attributes take room"] = (new TarBuilder().Pax(("SCHILY.xattr.user.a", new string('x', 4 * Page))).File("a", "x"), "MaxLayerBytes"),
        ["attributes for all entries take room in each"] = (new TarBuilder().GlobalPax(("SCHILY.xattr.user.a", new string('x', 1024))).File("a", new string('x', Page)).File("b", new string('x', Page)).File("c", new string('x', Page)), "MaxLayerBytes"),
        ["there are too many entries"] = (new TarBuilder().File("a").File("b").File("c").File("d").File("e"), "MaxLayerEntries"),
        ["hard links are entries"] = (new TarBuilder().File("a").HardLink("b", "a").HardLink("c", "a").HardLink("d", "a").HardLink("e", "a"), "MaxLayerEntries"),
        ["implied directories are entries"] = (new TarBuilder().File("a/b/c").File("c").File("d"), "MaxLayerEntries"),
        ["it is too deep"] = (new TarBuilder().File("a/b/c/d/e"), "MaxDepth"),
        ["a name is too long"] = (new TarBuilder().File(new string('x', 21)), "MaxNameBytes"),
        ["what a link names is too long"] = (new TarBuilder().SymbolicLink("x", new string('x', 21)), "MaxNameBytes"),
    };

    [Test]
    public void Over_a_limit_is_refused_by_its_name_and_value([ValueSource(nameof(Names))] string name)
    {
        using var sandbox = new Sandbox();
        (TarBuilder archive, string option) = TooMuch[name];
        SparkFailure failure = sandbox.Refusal(archive, Request);
        Assert.That(failure.Kind, Is.EqualTo(SparkFailureKind.Limit));
        string value = (option switch { "MaxLayerBytes" => Request.MaxBytes, "MaxLayerEntries" => Request.MaxEntries, "MaxDepth" => Request.MaxDepth, _ => Request.MaxNameBytes }).ToString(CultureInfo.InvariantCulture);
        Assert.That(failure.Message, Does.Contain(option).And.Contain(value).And.Contain("UnpackLimits:"));
        Assert.That(long.Parse(Tool.Run("du", "-s", "-B1", sandbox.Root).Split('\t')[0], CultureInfo.InvariantCulture), Is.LessThanOrEqualTo(Request.MaxBytes), "what was written");
    }

    [Test]
    public void What_is_just_within_the_limits_is_unpacked()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked unpacked = sandbox.Unpack(new TarBuilder().File("a/b/c/d", new string('x', Page)), Request);
        Assert.That((unpacked.Bytes, unpacked.Entries), Is.EqualTo((4 * Page, 4)), "three implied directories, and a block of data");
        using var holes = new Sandbox();
        Assert.That(holes.Unpack(new TarBuilder().Pax(("GNU.sparse.size", $"{4 * Page}"), ("GNU.sparse.map", "0,4")).File("s", "data"), Request).Bytes, Is.EqualTo(Page), "a hole takes no room");
    }

    [Test]
    public void Files_of_lower_layers_that_are_copied_to_be_linked_to_count()
    {
        using var lower = new Sandbox();
        lower.Unpack(new TarBuilder().File("large", new string('x', 2 * Page + 808)).File("other", new string('x', 2 * Page + 808)));
        using var sandbox = new Sandbox();
        SparkUnpack request = Request with { LayersBelow = true };
        Assert.That(sandbox.Refusal(new TarBuilder().HardLink("a", "large").HardLink("b", "other"), request, lower.Root).Message, Does.Contain("MaxLayerBytes"));
        using var one = new Sandbox();
        Assert.That(one.Unpack(new TarBuilder().HardLink("a", "large").HardLink("b", "large"), request, lower.Root).Bytes, Is.EqualTo(3 * Page), "one file, copied once");
    }

    [TestCase("size=1m,nr_inodes=100000")]
    [TestCase("size=100m,nr_inodes=400")]
    public void A_file_system_that_is_full_is_told_as_that_and_can_be_emptied(string options)
    {
        string place = Directory.CreateTempSubdirectory("xfn-full-").FullName;
        Tool.Run("mount", "-t", "tmpfs", "-o", options, "tmpfs", place);
        try
        {
            using (var sandbox = new Sandbox(place))
            {
                string tar = $"/dev/shm/{Path.GetFileName(place)}.tar";
                var archive = new TarBuilder();
                for (int i = 0; i < 1000; i++)
                    archive.File($"d{i}/f", new string('x', 2000));
                File.WriteAllBytes(tar, archive.ToArray());
                SparkFailure failure = Assert.Throws<SparkException>(() => sandbox.UnpackFile(tar))!.Failure;
                File.Delete(tar);
                Assert.That((failure.Kind, failure.Errno), Is.EqualTo((SparkFailureKind.Environment, 28)));
                Assert.That(failure.Message, Does.Contain("No space left"));
            }

            Assert.That(Directory.GetFileSystemEntries(place), Is.Empty);
        }
        finally
        {
            Tool.Run("umount", place);
            Directory.Delete(place);
        }
    }

    private static string[] Names() => [.. TooMuch.Keys];
}
