using Xfn.Core.Interop;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests.Attacks;

internal sealed class SpecialTypeTests
{
    [Test]
    public void Devices_are_left_out_and_noted()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder().Directory("dev/").Entry(new TarItem("dev/null", '3') { Major = "0000001\0", Minor = "0000003\0" }).Entry(new TarItem("dev/sda", '4') { Major = "0000010\0" }).File("x"));
        Assert.That(Directory.GetFileSystemEntries(sandbox["dev"]), Is.Empty);
        Assert.That(result.Warnings, Has.Count.EqualTo(2).And.All.Contains("device"));
    }

    [Test]
    public void Device_numbers_must_be_numbers()
    {
        using var sandbox = new Sandbox();
        foreach (string number in new[] { TarBuilder.Binary(-1, 8), TarBuilder.Binary(1L << 33, 8), "zzzzzzz\0" })
        {
            Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("d", '3') { Major = number })).Kind, Is.EqualTo(SparkFailureKind.Image));
            Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("d", '4') { Minor = number })).Kind, Is.EqualTo(SparkFailureKind.Image));
        }
    }

    [Test]
    public void A_thousand_notes_are_a_hundred_lines()
    {
        using var sandbox = new Sandbox();
        var archive = new TarBuilder();
        for (int i = 0; i < 1000; i++)
            archive.Entry(new TarItem($"d{i}", '3'));
        for (int i = 0; i < 1000; i++)
            archive.Pax(($"SCHILY.xattr.trusted.{i}", "x")).File("x");
        SparkUnpacked result = sandbox.Unpack(archive);
        Assert.That(result.Warnings, Has.Count.EqualTo(100));
        Assert.That(result.Warnings[^1], Is.EqualTo("and 1901 more"));
    }

    [Test]
    public void Type_7_is_a_file()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Entry(new TarItem("x", '7'), TarBuilder.Bytes("x")));
        Assert.That(File.ReadAllText(sandbox["x"]), Is.EqualTo("x"));
    }

    [TestCase('V')]
    [TestCase('M')]
    [TestCase('N')]
    [TestCase('D')]
    [TestCase('I')]
    [TestCase('Z')]
    [TestCase('a')]
    [TestCase('8')]
    [TestCase('\u00ff')]
    public void Unknown_types_are_refused_by_name(char type)
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().Entry(new TarItem("the-name", type))).Message, Does.Contain("'the-name'").And.Contain($"type '{ByteTextOf(type)}'"));
    }

    [Test]
    public void Special_bits_are_stored_exactly_whatever_the_umask([Values(0u, 0b010_010u, 0b010_111u, 0b111_111u)] uint mask)
    {
        using var sandbox = new Sandbox();
        uint before = Libc.umask(mask);
        try
        {
            sandbox.Unpack(new TarBuilder().File("suid", "x", 0b100_111_101_101, "5", "6").File("open", "x", 0b110_110_110).Directory("sgid/", 0b010_111_111_101, "5", "6").File("sgid/x")
                .Directory("sgid/sub/").Directory("sticky/", 0b001_111_111_111).Entry(new TarItem("p", '6') { Mode = "0007777\0", Uid = "3" }).File("implied/x"));
            Assert.That(Libc.umask(mask), Is.EqualTo(mask), "it stays the caller's");
        }
        finally
        {
            _ = Libc.umask(before);
        }

        Assert.That(TreeListing.Of(sandbox.Root), Does.Contain("suid mode=104755 owner=5:6").And.Contain("open mode=100666").And.Contain("sgid mode=42775 owner=5:6").And.Contain("sgid/x mode=100644 owner=0:0")
            .And.Contain("sgid/sub mode=40755 owner=0:0").And.Contain("sticky mode=41777").And.Contain("p mode=17777 owner=3:0").And.Contain("implied mode=40755"));
    }

    [Test]
    public void Extended_attributes_a_container_may_have_are_kept_exactly()
    {
        using var sandbox = new Sandbox("/tmp");
        string capability = "\u0001\0\0\u0002\0\u0020\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        SparkUnpacked result = sandbox.Unpack(new TarBuilder()
            .Pax(("SCHILY.xattr.security.capability", capability), ("SCHILY.xattr.user.bin", "\0\n=\u00ff"), ("SCHILY.xattr.user.empty", ""), ("SCHILY.xattr.user.a=b", "")).File("f", "x", 0b111_101_101, "1", "1")
            .Pax(("SCHILY.xattr.security.capability", "\u0001\0\0\u0003" + capability[4..] + "\0\0\0\0")).File("v3")
            .Pax(("SCHILY.xattr.security.capability", "\u0001\0\0\u0003" + capability[4..] + "\u0001\0\0\0")).File("foreign")
            .Pax(("SCHILY.xattr.security.capability", "\u0001\0\0\u0001" + capability[4..12])).File("v1")
            .Pax(("SCHILY.xattr.security.capability", "x")).File("junk")
            .Pax(("SCHILY.xattr.security.selinux", "s"), ("SCHILY.xattr.security.ima", "s"), ("SCHILY.xattr.system.posix_acl_access", "s"), ("SCHILY.xattr.trusted.x", "s"), ("SCHILY.xattr.user.", "s"), ("SCHILY.xattr.nonsense", "s")).File("rest")
            .Pax(("SCHILY.xattr.user.x", "d")).Directory("d/"));
        string listing = TreeListing.Of(sandbox.Root);
        Assert.That(listing, Does.Match("f mode=100755.* security.capability=0100000200200000000000000000000000000000 user.a=623D user.bin=000A3DFF user.empty=\n").Or.Match("f mode=100755.* security.capability=0100000200200000000000000000000000000000 user.a= user.bin=000A3DFF user.empty=\n"));
        Assert.That(listing, Does.Match("v3 mode.*security.capability=01000002").And.Not.Match("(foreign|v1|junk|rest) mode.*(capability|selinux|trusted|acl|user)").And.Match("d mode=.* user.x=64"));
        Assert.That(result.Warnings, Has.Count.EqualTo(7));
    }

    [Test]
    public void Attributes_that_only_files_and_directories_can_have_are_left_out_elsewhere()
    {
        using var sandbox = new Sandbox();
        SparkUnpacked result = sandbox.Unpack(new TarBuilder().Pax(("SCHILY.xattr.user.x", "y")).SymbolicLink("l", "f").Pax(("SCHILY.xattr.user.x", "y")).Fifo("p").File("f"));
        Assert.That(TreeListing.Of(sandbox.Root), Does.Not.Contain("user.x"));
        Assert.That(string.Join('|', result.Warnings), Is.EqualTo("extended attribute 'user.x' was left out of 2 entries; the first is 'l'"));
    }

    [Test]
    public void Attributes_beyond_the_kernels_limits_are_refused()
    {
        using var sandbox = new Sandbox();
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("SCHILY.xattr.user.big", new string('x', 70_000))).File("f")).Kind, Is.EqualTo(SparkFailureKind.Limit));
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(("SCHILY.xattr.user." + new string('n', 255), "x")).File("f")).Kind, Is.EqualTo(SparkFailureKind.Limit));
        (string, string)[] many = [.. Enumerable.Range(0, 10_000).Select(i => ($"SCHILY.xattr.user.{i}", "x"))];
        Assert.That(sandbox.Refusal(new TarBuilder().Pax(many).File("f")).Kind, Is.EqualTo(SparkFailureKind.Limit));
    }

    private static string ByteTextOf(char type) => type == '\u00ff' ? "\\xff" : type.ToString();
}
