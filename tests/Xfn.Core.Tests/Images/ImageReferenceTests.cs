namespace Xfn.Core.Tests.Images;

public class ImageReferenceTests
{
    private const string Hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    [TestCase("busybox", "index.docker.io/library/busybox:latest")]
    [TestCase("docker.io/busybox", "index.docker.io/library/busybox:latest")]
    [TestCase("docker://team/fn:v2", "index.docker.io/team/fn:v2")]
    [TestCase("localhost/fn", "localhost/fn:latest")]
    [TestCase("127.0.0.1:5000/a/b_c__d-e:1.0", "127.0.0.1:5000/a/b_c__d-e:1.0")]
    [TestCase("[::1]:5000/x", "[::1]:5000/x:latest")]
    [TestCase($"reg.example.org/fn:v1@sha256:{Hex}", $"reg.example.org/fn:v1@sha256:{Hex}")]
    [TestCase($"reg.example.org/fn@sha256:{Hex}", $"reg.example.org/fn@sha256:{Hex}")]
    [TestCase("oci:/a/b", "oci:/a/b")]
    [TestCase("oci:/a/b:v1", "oci:/a/b:v1")]
    public void A_reference_is_read_as_docker_reads_it(string text, string canonical)
    {
        Assert.That(ImageReference.Parse(text).ToString(), Is.EqualTo(canonical));
        Assert.That(ImageReference.Parse(canonical), Is.EqualTo(ImageReference.Parse(text)));
    }

    [TestCase("UPPER/case")]
    [TestCase("a@sha256:12")]
    [TestCase("host.example:99999/x")]
    [TestCase("user:pw@host/x")]
    [TestCase("..//x")]
    [TestCase("-o/x")]
    [TestCase("x/")]
    [TestCase("")]
    [TestCase("oci:")]
    public void What_is_no_reference_is_refused_with_the_reason(string text) =>
        Assert.That(() => ImageReference.Parse(text), Throws.InstanceOf<FormatException>().With.Message.StartsWith($"cannot parse image reference '{text}': "));
}
