using System.Text;
using Xfn.Core.Images;

namespace Xfn.Core.Tests.Images;

internal sealed class UserFilesTests
{
    private static readonly UserFiles Files = new("root:x:0:0::/:/bin/sh\nalice:x:4321:4321::/:\n"u8.ToArray(), new byte[] { 0xFF, (byte)'\n' });

    [Test]
    public void What_is_written_is_read()
    {
        foreach (UserFiles files in new[] { Files, new UserFiles(default, default) })
            Assert.That(Contents(UserFiles.FromJson(files.ToJson())), Is.EqualTo(Contents(files)));
    }

    [Test]
    public void The_format_stays_what_caches_have()
    {
        Assert.That(Contents(UserFiles.FromJson("""
            {"version":1,"passwd":"YTo=","group":"","sha256":"bfc622d4a6d410f26be3d72dd4f04e47bf434f76c655134adb76fef3a083c3a8"}
            """u8.ToArray())), Is.EqualTo(Contents(new UserFiles("a:"u8.ToArray(), default))));
    }

    [TestCase("""{"version":2,"users":[]}""", ExpectedResult = "it is of version 2, expected 1")]
    [TestCase("""{"passwd":"","group":""}""", ExpectedResult = "it is of version 0, expected 1")]
    [TestCase("null", ExpectedResult = "it is of version 0, expected 1")]
    [TestCase("""{"version":"1"}""", ExpectedResult = "it is of an earlier version, or damaged")]
    [TestCase("""{"version":1,"passwd":"?"}""", ExpectedResult = "it is of an earlier version, or damaged")]
    public string What_is_of_another_version_is_refused_with_the_reason(string json) =>
        Assert.Throws<InvalidDataException>(() => UserFiles.FromJson(Encoding.UTF8.GetBytes(json)))!.Message;

    [Test]
    public void What_is_damaged_is_never_taken_for_something_else()
    {
        byte[] good = Files.ToJson();
        for (int length = 0; length < good.Length; length++)
            Assert.That(() => UserFiles.FromJson(good.AsMemory(0, length)), Throws.TypeOf<InvalidDataException>(), $"{length} bytes");
        for (int at = 0; at < good.Length; at++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                byte[] bad = [.. good];
                bad[at] ^= (byte)(1 << bit);
                Assert.That(ReadOrRefuse(bad), Is.Null.Or.EqualTo(Contents(Files)), $"bit {bit} of byte {at}");
            }
        }
    }

    private static string? ReadOrRefuse(byte[] json)
    {
        try
        {
            return Contents(UserFiles.FromJson(json));
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private static string Contents(UserFiles files) => $"{Convert.ToHexString(files.Passwd.Span)} {Convert.ToHexString(files.Group.Span)}";
}
