using System.Text;
using Xfn.Core.Sources;

namespace Xfn.Core.Tests.Sources;

internal sealed class OciDocumentsTests
{
    /// <summary>Half of a surrogate pair can be escaped in JSON, and is no text.</summary>
    [TestCase("""{"schemaVersion":2,"artifactType":"\ud800","layers":[]}""")]
    [TestCase("""{"schemaVersion":2,"config":{"mediaType":"\udc00"},"layers":[]}""")]
    [TestCase("""{"schemaVersion":2,"mediaType":"\ud800","layers":[]}""")]
    public void A_type_that_is_no_text_is_refused_as_what_it_is(string json)
    {
        ImageReference image = ImageReference.Parse("registry.example/fn:v1");
        byte[] manifest = Encoding.UTF8.GetBytes(json);
        Assert.That(
            () =>
            {
                OciDocuments.KindOf(image, new FetchedManifest { Content = manifest });
                OciDocuments.CheckIsImage(image, manifest);
                OciDocuments.ParseManifest(image, manifest);
            },
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains(image.ToString()));
    }

    /// <summary>The programs that others run images with look at the digests alone; some builders leave the type out.</summary>
    [TestCase("\"type\":\"layers\",")]
    [TestCase("\"type\":\"\",")]
    [TestCase("")]
    public void The_type_of_a_root_file_system_does_not_matter(string type)
    {
        ImageReference image = ImageReference.Parse("registry.example/fn:v1");
        Digest digest = Digest.Compute("layer"u8);
        var manifest = new ImageManifest { Config = Describe(MediaTypes.OciConfig), Layers = [Describe(MediaTypes.OciLayer)] };
        ImageConfig config = OciDocuments.ParseConfig(image, Encoding.UTF8.GetBytes($$$"""{"rootfs":{{{{type}}}"diff_ids":["{{{digest}}}"]}}"""));
        Assert.That(() => OciDocuments.Check(image, manifest, config), Throws.Nothing);

        Descriptor Describe(string mediaType) => new() { MediaType = mediaType, Digest = digest, Size = 5 };
    }

    /// <summary>So does Go's reader of JSON, which is docker's, podman's and containerd's.</summary>
    [Test]
    public void Names_of_fields_have_any_case()
    {
        ImageReference image = ImageReference.Parse("registry.example/fn:v1");
        Digest digest = Digest.Compute("layer"u8);
        ImageConfig config = OciDocuments.ParseConfig(
            image, Encoding.UTF8.GetBytes($$$"""{"OS":"linux","config":{"cmd":["a"],"env":["A=1"],"workingDir":"/w","USER":"1"},"RootFS":{"diff_ids":["{{{digest}}}"]}}"""));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(config.Os, Is.EqualTo("linux"));
            Assert.That(config.Config!.Cmd, Is.EqualTo(["a"]));
            Assert.That(config.Config.Env, Is.EqualTo(["A=1"]));
            Assert.That((config.Config.WorkingDir, config.Config.User), Is.EqualTo(("/w", "1")));
            Assert.That(config.RootFs.DiffIds, Is.EqualTo([digest]));
        }
    }

    /// <summary>Another reader would take the other one.</summary>
    [TestCase("""{"config":{"Cmd":["a"],"cmd":["b"]},"rootfs":{"diff_ids":[]}}""")]
    public void Two_fields_of_one_name_in_two_cases_are_refused(string json) =>
        Assert.That(() => OciDocuments.ParseConfig(ImageReference.Parse("registry.example/fn:v1"), Encoding.UTF8.GetBytes(json)), Throws.InstanceOf<InvalidImageException>());

    [Test]
    public void An_index_that_is_a_manifest_too_in_another_case_is_refused() =>
        Assert.That(
            () => OciDocuments.KindOf(ImageReference.Parse("registry.example/fn:v1"), new FetchedManifest { Content = """{"schemaVersion":2,"manifests":[],"Layers":[]}"""u8.ToArray() }),
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains("an index and a manifest at once"));
}
