using System.Text;
using Xfn.Core.Images;

namespace Xfn.Core.Tests.Images;

internal sealed class ResolvedReferenceTests
{
    private static readonly string Top = Digest.Compute("top"u8).ToString();
    private static readonly string Manifest = Digest.Compute("manifest"u8).ToString();

    [Test]
    public void What_is_kept_of_a_reference_is_read_back() =>
        Assert.That(Parse($"xfn reference 1\noci:/é:v1 linux/amd64\n{Top}\n{Manifest}\n"), Is.EqualTo(new ResolvedReference(Digest.Parse(Top), Digest.Parse(Manifest))));

    private static IEnumerable<string> Others()
    {
        yield return "";
        yield return "\n\n\n\n";
        yield return $"xfn reference 2\nx\n{Top}\n{Manifest}\n";
        yield return $"xfn reference 1\nx\n{Top}\n{Manifest}";
        yield return $"xfn reference 1\nx\n{Top}\n{Manifest}\n\n";
        yield return $"xfn reference 1\nx\n{Top}\n{Manifest[..^1]}\n";
        yield return $"xfn reference 1\nx\nsha256:0\n{Manifest}\n";
        yield return new string('\n', 9000);
    }

    [TestCaseSource(nameof(Others))]
    public void What_is_cut_off_or_of_another_version_is_as_if_it_were_not_there(string content) => Assert.That(Parse(content), Is.Null);

    private static ResolvedReference? Parse(string content) => ResolvedReference.Parse(Encoding.UTF8.GetBytes(content));
}
