using Xfn.Core.Sources;

namespace Xfn.Core.Tests.Sources;

/// <summary>Names as the builders write them into index.json.</summary>
public class LayoutIndexTests
{
    private const string Ref = "org.opencontainers.image.ref.name";
    private const string Containerd = "io.containerd.image.name";

    /// <summary>By podman; by BuildKit and docker, which write tag and name apart; by skopeo without a name.</summary>
    [TestCase("localhost/fn:stable", "a")]
    [TestCase("fn", "c")]
    [TestCase("docker.io/library/fn:latest", "c")]
    [TestCase("library/fn", "c")]
    [TestCase("registry.example:5000/team/fn:v1", "d")]
    [TestCase("v2", "d")]
    public void An_image_is_found_by_what_its_builder_called_it(string name, string image)
    {
        byte[] index = Index(
            Entry("a", (Ref, "localhost/fn:stable")),
            Entry("b", (Ref, "localhost/fn:other")),
            Entry("c", (Containerd, "docker.io/library/fn:latest"), (Ref, "latest")),
            Entry("d", (Containerd, "registry.example:5000/team/fn:v1"), (Ref, "v2")));
        Assert.That(LayoutIndex.Find(ImageReference.Parse("oci:/layout:" + name), index).Digest, Is.EqualTo(Entry(image).Digest));
    }

    [Test]
    public void Every_name_that_a_message_lists_can_be_used()
    {
        byte[] index = Index(Entry("a", (Ref, "localhost/fn:stable")), Entry("b", (Containerd, "host:5000/fn:v1"), (Ref, "v1")), Entry("c", (Ref, "plain")));
        string message = Assert.Throws<ImageNotFoundException>(() => LayoutIndex.Find(ImageReference.Parse("oci:/layout"), index))!.Message;
        Assert.That(message, Does.Contain("'localhost/fn:stable', 'host:5000/fn:v1', 'plain'").And.Contain("oci:/layout:localhost/fn:stable"));
        foreach ((string name, string entry) in new[] { ("localhost/fn:stable", "a"), ("host:5000/fn:v1", "b"), ("plain", "c") })
            Assert.That(LayoutIndex.Find(ImageReference.Parse("oci:/layout:" + name), index).Digest, Is.EqualTo(Entry(entry).Digest));
    }

    [TestCase("oci:/layout:fn")]
    [TestCase("oci:/layout")]
    public void One_name_on_several_entries_is_an_index_of_them(string reference)
    {
        Descriptor[] entries = [Entry("arm", (Ref, "fn")) with { Platform = new Platform { Os = "linux", Architecture = "arm64" } }, Entry("amd", (Ref, "fn")) with { Platform = new Platform { Os = "linux", Architecture = "amd64" } }];
        LayoutEntry found = LayoutIndex.Find(ImageReference.Parse(reference), Index([.. entries, Entry("signature")]));
        Assert.That((found.MediaType, found.Digest), Is.EqualTo((MediaTypes.OciIndex, Digest.Compute(found.Content))));
        Assert.That(OciJson.ParseIndex(found.Content).Manifests.Select(d => d.Digest), Is.EqualTo(entries.Select(d => d.Digest)));
    }

    [Test]
    public void A_name_of_two_images_is_ambiguous()
    {
        byte[] index = Index(Entry("a", (Containerd, "host/one:latest"), (Ref, "latest")), Entry("b", (Containerd, "host/two:latest"), (Ref, "latest")));
        Assert.That(() => LayoutIndex.Find(ImageReference.Parse("oci:/layout:latest"), index), Throws.TypeOf<ImageNotFoundException>().With.Message.Contains("'host/one:latest', 'host/two:latest'"));
        Assert.That(LayoutIndex.Find(ImageReference.Parse("oci:/layout:host/two"), index).Digest, Is.EqualTo(Entry("b").Digest));
    }

    [Test]
    public void Two_names_of_one_image_need_no_choice() => Assert.That(
        LayoutIndex.Find(ImageReference.Parse("oci:/layout"), Index(Entry("a", (Ref, "one")), Entry("a", (Ref, "two")))).Digest, Is.EqualTo(Entry("a").Digest));

    [Test]
    public void Without_any_name_the_whole_is_the_index()
    {
        byte[] index = Index(Entry("a"), Entry("b"));
        Assert.That(LayoutIndex.Find(ImageReference.Parse("oci:/layout"), index).Content, Is.EqualTo(index));
        Assert.That(() => LayoutIndex.Find(ImageReference.Parse("oci:/layout:x"), index), Throws.TypeOf<ImageNotFoundException>().With.Message.EndsWith("the layout has no names. Leave the name out: oci:/layout."));
    }

    [TestCase("<html>", "no valid JSON")]
    [TestCase("{}", "lacks 'manifests'")]
    [TestCase("""{"manifests":[{"digest":"sha256:1"}]}""", "manifests")]
    public void What_is_no_index_is_told_in_its_own_terms(string json, string why) => Assert.That(
        () => LayoutIndex.Find(ImageReference.Parse("oci:/layout"), System.Text.Encoding.UTF8.GetBytes(json)),
        Throws.TypeOf<InvalidImageException>().With.Message.Contains(why).And.Message.Not.Contains("System.").And.Message.Not.Contains("Xfn.Core."));

    private static byte[] Index(params Descriptor[] entries) => OciJson.Serialize(new ImageIndex { Manifests = entries });

    private static Descriptor Entry(string image, params (string Key, string Value)[] annotations) => new()
    {
        MediaType = MediaTypes.OciManifest,
        Digest = Digest.Compute(System.Text.Encoding.UTF8.GetBytes(image)),
        Size = 1,
        Annotations = annotations.ToDictionary(a => a.Key, a => a.Value),
    };
}
