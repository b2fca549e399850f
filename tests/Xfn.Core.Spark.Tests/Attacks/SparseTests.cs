using System.Globalization;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class SparseTests
{
    private const string Major = "GNU.sparse.major";

    [Test]
    public void Files_that_tar_wrote_sparse_are_exact_and_keep_their_holes([Values("--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0")] string format)
    {
        using var sandbox = new Sandbox("/tmp");
        string source = Directory.CreateDirectory(Path.Combine(sandbox.Base, "source")).FullName;
        var random = new Random(1);
        using (FileStream file = File.Create(Path.Combine(source, "sparse")))
        {
            // More segments than fit a header, the last up to the end.
            for (int i = 0; i < 40; i++)
            {
                file.Position = i * 200_000L;
                var data = new byte[random.Next(1, 9000)];
                random.NextBytes(data);
                file.Write(data);
            }
        }

        // pax adds a name for programs without sparse files: in the header, or in records if long or not ASCII.
        string deep = Directory.CreateDirectory(Path.Combine(source, new string('d', 120), new string('e', 120))).FullName;
        string[] names = ["hole", "h\u00f6le", new string('h', 150), Path.Combine(deep, "hole"), Path.Combine(deep, "h\u00f6le")];
        foreach (string name in names)
        {
            using FileStream hole = File.Create(Path.Combine(source, name));
            hole.SetLength(1_234_567);
            hole.Position = 700_000;
            hole.WriteByte(1);
        }

        using (FileStream hole = File.Create(Path.Combine(source, "empty")))
            hole.SetLength(123_456_789);
        string tar = Path.Combine(sandbox.Base, "s.tar");
        string[] options = format.StartsWith("--sparse", StringComparison.Ordinal) ? ["--format=posix", format] : [format];
        Tool.Run("tar", ["-c", "-S", .. options, "-f", tar, "-C", source, "."]);
        sandbox.UnpackFile(tar);
        Assert.That(TreeListing.Of(sandbox.Root, times: false), Is.EqualTo(TreeListing.Of(source, times: false)));
        foreach (string name in names.Select(n => Path.GetRelativePath(source, Path.Combine(source, n))).Append("sparse").Append("empty"))
        {
            Assert.That(File.ReadAllBytes(sandbox[name]).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(source, name))), name);
            Assert.That(Blocks(sandbox[name]), Is.LessThanOrEqualTo(Blocks(Path.Combine(source, name))), name);
        }
    }

    [TestCase("8589934592", "0,512", 512)]
    [TestCase("1099511627776", "0,1,1099511627775,1", 2)]
    public void The_real_size_counts_against_the_limit(string size, string map, int bytes)
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("GNU.sparse.size", size), ("GNU.sparse.map", map)).File("x", new string('x', bytes))).Kind, Is.EqualTo(SparkFailureKind.Limit));
        Assert.That(File.Exists(sandbox["x"]), Is.False);
    }

    [TestCase("100", "0,4", true)]
    [TestCase("100", "0,2,50,2", true)]
    [TestCase("100", "0,4,100,0", true)]
    [TestCase("100", "0,2,1,2", false)]
    [TestCase("100", "50,2,0,2", false)]
    [TestCase("100", "98,4", false)]
    [TestCase("100", "0,3", false)]
    [TestCase("100", "0,5", false)]
    [TestCase("100", "-1,4", false)]
    [TestCase("100", "0,-4", false)]
    [TestCase("100", "9223372036854775807,4", false)]
    [TestCase("100", "0", false)]
    [TestCase("100", "0,4,", true)]
    [TestCase("100", "a,b", false)]
    [TestCase("", "0,4", false)]
    public void A_map_is_right_or_refused(string size, string map, bool good)
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder().Pax(("GNU.sparse.size", size), ("GNU.sparse.map", map), ("GNU.sparse.name", "real")).File("GNUSparseFile.0/x", "data").File("after");
        if (!good)
        {
            Assert.That(sandbox.Refusal(archive).Kind, Is.EqualTo(SparkFailureKind.Image));
            return;
        }

        sandbox.Unpack(archive);
        Assert.That(new FileInfo(sandbox["real"]).Length, Is.EqualTo(100));
        Assert.That(File.Exists(sandbox["after"]));
    }

    [Test]
    public void The_maps_name_holds_wherever_it_stands([Values] bool before)
    {
        using var sandbox = new Sandbox();
        (string, string) name = ("GNU.sparse.name", "real"), path = ("path", "GNUSparseFile.7/real");
        (string, string)[] names = before ? [name, path] : [path, name];
        sandbox.Unpack(new TarBuilder().Pax([("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,4"), .. names]).File("x", "data").Pax(("path", "after")).File("y"));
        Assert.That(TreeListing.Of(sandbox.Root, root: false).Split('\n').Select(line => line.Split(' ')[0]), Is.EqualTo(new[] { "after", "real" }));
    }

    [Test]
    public void Scattered_bytes_count_with_the_blocks_that_they_take()
    {
        using var sandbox = new Sandbox("/tmp");
        string map = string.Join(',', Enumerable.Range(0, 100).Select(i => $"{i * 8192},1,{i * 8192 + 7},1"));
        SparkUnpacked unpacked = sandbox.Unpack(new TarBuilder().Pax(("GNU.sparse.size", "819200"), ("GNU.sparse.map", map)).File("x", new string('x', 200)));
        Assert.That(unpacked.Bytes, Is.EqualTo(100 * 4096));
        Assert.That(Blocks(sandbox["x"]) * 512, Is.LessThanOrEqualTo(unpacked.Bytes));
    }

    [TestCase("1\n0\n4\n", true)]
    [TestCase("0\n", false)]
    [TestCase("99999999999\n", false)]
    [TestCase("1\n0\n", false)]
    [TestCase("\n\n\n", false)]
    [TestCase("1 0 4", false)]
    [TestCase("-1\n", false)]
    public void A_map_before_the_data_is_right_or_refused(string map, bool good)
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder().Pax((Major, "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "1000"), ("GNU.sparse.name", "real")).File("x", map.PadRight(512, '\0') + "data").File("after");
        if (good)
            sandbox.Unpack(archive);
        else
            Assert.That(sandbox.Refusal(archive).Kind, Is.AnyOf(SparkFailureKind.Image, SparkFailureKind.Limit));
        Assert.That(File.Exists(sandbox["after"]), Is.EqualTo(good));
    }

    [Test]
    public void Segments_without_end_are_refused()
    {
        using var sandbox = new Sandbox();
        string map = string.Join(',', Enumerable.Range(0, 100_000).Select(i => (i * 2).ToString(CultureInfo.InvariantCulture) + ",1"));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("GNU.sparse.size", "1000"), ("GNU.sparse.map", map)).File("x", "d")).Kind, Is.EqualTo(SparkFailureKind.Image));
        string count = "100000000\n" + string.Concat(Enumerable.Repeat("0\n0\n", 1_100_000));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax((Major, "1"), ("GNU.sparse.realsize", "1000")).File("x", count)).Kind, Is.EqualTo(SparkFailureKind.Limit));

        // GNU's own format: blocks of segments, each saying that another follows.
        var archive = new TarBuilder().Entry(new TarItem("x", 'S') { Gnu = true, Size = TarBuilder.Octal(0, 12), Patches = [(386, "00000000000\000000000000\0"), (482, "\u0001"), (483, TarBuilder.Octal(8L << 30, 12))] });
        byte[] block = new byte[512];
        for (int i = 0; i < 21; i++)
            TarBuilder.Bytes("00000000000\000000000000\0").CopyTo(block, i * 24);
        block[504] = 1;
        for (int i = 0; i < 50_100; i++)
            archive.Raw(block);
        Assert.That(sandbox.Refusal(archive).Kind, Is.EqualTo(SparkFailureKind.Limit));
    }

    private static long Blocks(string file) => long.Parse(Tool.Run("stat", "-c", "%b", file), CultureInfo.InvariantCulture);
}
