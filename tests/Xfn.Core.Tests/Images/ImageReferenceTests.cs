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

    [TestCase("index.docker.io/library/busybox", "index.docker.io/library/busybox:latest")]
    [TestCase("registry-1.docker.io/busybox", "index.docker.io/library/busybox:latest")]
    [TestCase("busybox:1.36", "index.docker.io/library/busybox:1.36")]
    [TestCase($"busybox@sha256:{Hex}", $"index.docker.io/library/busybox@sha256:{Hex}")]
    [TestCase("localhost:5000/x", "localhost:5000/x:latest")]
    [TestCase("host.example:5000/x:tag", "host.example:5000/x:tag")]
    [TestCase("Host.Example/x", "Host.Example/x:latest")]
    [TestCase("a/b/c/d/e/f", "index.docker.io/a/b/c/d/e/f:latest")]
    [TestCase("a-b--c/x", "index.docker.io/a-b--c/x:latest")]
    [TestCase("r.test/x:_-.A", "r.test/x:_-.A")]
    [TestCase("[2001:db8::1]/x", "[2001:db8::1]/x:latest")]
    [TestCase($"r.test/x@sha512:{Hex}{Hex}", $"r.test/x@sha512:{Hex}{Hex}")]
    [TestCase("oci:/a:b/c", "oci:/a:b/c")]
    [TestCase($"oci:/a@sha256:{Hex}", $"oci:/a@sha256:{Hex}")]
    [TestCase("oci-archive:/a.tar:v1", "oci-archive:/a.tar:v1")]
    [TestCase("oci:/a/../b:v1", "oci:/b:v1")]
    [TestCase("docker-archive:/a.tar", "docker-archive:/a.tar")]
    [TestCase("docker-archive:/a.tar:team/fn:v1", "docker-archive:/a.tar:team/fn:v1")]
    [TestCase("oci:/a:localhost/fn:stable", "oci:/a:localhost/fn:stable")]
    [TestCase($"oci-archive:/a.tar:host:5000/fn:v1@sha256:{Hex}", $"oci-archive:/a.tar:host:5000/fn:v1@sha256:{Hex}")]
    [TestCase($"oci:/a:host:5000/fn@sha256:{Hex}", $"oci:/a:host:5000/fn@sha256:{Hex}")]
    [TestCase("oci:/users/me@host/a:v1", "oci:/users/me@host/a:v1")]
    public void What_others_write_is_read_too(string text, string canonical)
    {
        Assert.That(ImageReference.Parse(text).ToString(), Is.EqualTo(canonical));
        Assert.That(ImageReference.Parse(canonical), Is.EqualTo(ImageReference.Parse(text)));
    }

    [TestCase("oci:/a/b:localhost/fn:stable", "/a/b", "localhost/fn:stable")]
    [TestCase("oci-archive:/a.tar:host:5000/fn:v1", "/a.tar", "host:5000/fn:v1")]
    [TestCase("docker-archive:/a.tar:host:5000/fn:v1", "/a.tar", "host:5000/fn:v1")]
    [TestCase($"oci:/a:fn:v1@sha256:{Hex}", "/a", "fn:v1")]
    [TestCase("oci:/a:b/c", "/a", "b/c")]
    public void A_path_ends_at_its_first_colon(string text, string path, string name)
    {
        ImageReference reference = ImageReference.Parse(text);
        Assert.That((reference.Repository, reference.Tag), Is.EqualTo((path, name)));
    }

    [TestCase("fn", "r.test", "r.test/fn:latest")]
    [TestCase("team/fn", "r.test:5000", "r.test:5000/team/fn:latest")]
    [TestCase("fn", "docker.io", "index.docker.io/library/fn:latest")]
    [TestCase("other.test/fn", "r.test", "other.test/fn:latest")]
    public void A_name_without_a_host_is_the_default_registrys(string text, string registry, string canonical) =>
        Assert.That(ImageReference.Parse(text, registry).ToString(), Is.EqualTo(canonical));

    [TestCase(128, true)]
    [TestCase(129, false)]
    public void A_tag_has_128_characters_at_most(int length, bool valid) =>
        Assert.That(ImageReference.TryParse("r.test/x:" + new string('a', length), ImageReference.DefaultRegistry, out _, out _), Is.EqualTo(valid));

    [TestCase(255, true)]
    [TestCase(256, false)]
    public void A_name_has_255_characters_at_most(int length, bool valid) =>
        Assert.That(ImageReference.TryParse("r.test/" + new string('a', length - 7), ImageReference.DefaultRegistry, out _, out _), Is.EqualTo(valid));

    [TestCase("UPPER/case")]
    [TestCase("a@sha256:12")]
    [TestCase("host.example:99999/x")]
    [TestCase("host.example:0/x")]
    [TestCase("host.example:/x")]
    [TestCase("host.example:http/x")]
    [TestCase("..//x")]
    [TestCase("../x")]
    [TestCase("./x")]
    [TestCase("a/../b")]
    [TestCase("a/./b")]
    [TestCase("a//b")]
    [TestCase("/a")]
    [TestCase("-o/x")]
    [TestCase("-o")]
    [TestCase("x/")]
    [TestCase("")]
    [TestCase(" ")]
    [TestCase(" x")]
    [TestCase("x y")]
    [TestCase("x:")]
    [TestCase("x:.tag")]
    [TestCase("x:-tag")]
    [TestCase("x:a:b")]
    [TestCase("x:t%2f")]
    [TestCase("x?y")]
    [TestCase("x#y")]
    [TestCase("x%2e%2e/y")]
    [TestCase("x\\y")]
    [TestCase("x@")]
    [TestCase($"@sha256:{Hex}")]
    [TestCase($"a@sha256:{Hex}@sha256:{Hex}")]
    [TestCase($"a@SHA256:{Hex}")]
    [TestCase($"a@md5:{Hex}")]
    [TestCase("a。b/x")]
    [TestCase("аpple/x")]
    [TestCase("host。example/x")]
    [TestCase("[::1/x")]
    [TestCase("[1:2:3]/x")]
    [TestCase("[:::::]:5000/x")]
    [TestCase("[fe80::1%25eth0]/x")]
    [TestCase("https://host.example/x")]
    [TestCase("host..example/x")]
    [TestCase("-host.example/x")]
    [TestCase("host.example-/x")]
    [TestCase(".a")]
    [TestCase("a..b")]
    [TestCase("a___b")]
    [TestCase("a_-b")]
    [TestCase("oci:")]
    [TestCase("oci::tag")]
    [TestCase("oci:/a:")]
    [TestCase("oci:/a@sha256:1")]
    [TestCase("docker-archive::x")]
    public void What_is_no_reference_is_refused_with_the_reason(string text) =>
        Assert.That(() => ImageReference.Parse(text), Throws.InstanceOf<FormatException>().With.Message.StartsWith($"cannot parse image reference '{text}': "));

    [TestCase("user:hunter2@host.example/x")]
    [TestCase("https://user:hunter2@host.example/x")]
    [TestCase("user:p@hunter2@host.example/x")]
    [TestCase($"user:hunter2@host.example/x@sha256:{Hex}@")]
    public void A_password_in_a_reference_is_refused_and_not_repeated(string text) =>
        Assert.That(() => ImageReference.Parse(text), Throws.InstanceOf<FormatException>().With.Message.Not.Contains("hunter2"));

    [TestCase("x\ny")]
    [TestCase("x\0")]
    [TestCase("oci:/a\0b")]
    public void A_reference_is_one_line(string text) =>
        Assert.That(() => ImageReference.Parse(text), Throws.InstanceOf<FormatException>().With.Message.Not.Contains("\n").And.Message.Not.Contains("\0"));
}
