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
                OciDocuments.IsIndex(image, new FetchedManifest { Content = manifest });
                OciDocuments.CheckIsImage(image, manifest);
                OciDocuments.ParseManifest(image, manifest);
            },
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains(image.ToString()));
    }

    /// <summary>Other programs that run images look at the digests alone; some builders leave the type out.</summary>
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

    [TestCase("""{"architecture":null,"rootfs":{"diff_ids":[]}}""", "its architecture is null")]
    [TestCase("""{"rootfs":{"diff_ids":null}}""", "its rootfs.diff_ids is null")]
    [TestCase("""{"rootfs":null}""", "its rootfs is null")]
    [TestCase("""{"config":{"Cmd":{}},"rootfs":{"diff_ids":[]}}""", "its config.Cmd is of another kind")]
    [TestCase("""{"config":{"Cmd":["a",1]},"rootfs":{"diff_ids":[]}}""", "is of another kind")]
    [TestCase("""{"config":{"Cmd":["a",null]},"rootfs":{"diff_ids":[]}}""", "expected a configuration, found null")]
    public void A_configuration_says_where_it_is_wrong(string json, string found) => Assert.That(
        () => OciDocuments.ParseConfig(ImageReference.Parse("registry.example/fn:v1"), Encoding.UTF8.GetBytes(json)),
        Throws.InstanceOf<InvalidImageException>().With.Message.Contains(found));

    [TestCase("""{"manifests":null}""", "index", "its manifests is null")]
    [TestCase("""{"layers":null,"config":{"mediaType":"x","size":1,"digest":"DIGEST"}}""", "manifest", "its layers is null")]
    [TestCase("""{"layers":[],"config":{"mediaType":"x","size":null,"digest":"DIGEST"}}""", "manifest", "its config.size is null")]
    [TestCase("""{"layers":[],"config":{"mediaType":null,"size":1,"digest":"DIGEST"}}""", "manifest", "its config.mediaType is null")]
    [TestCase("""{"layers":[],"config":{"mediaType":"x","size":"1","digest":"DIGEST"}}""", "manifest", "its config.size is of another kind")]
    public void A_null_is_said_to_be_one(string json, string kind, string found)
    {
        ImageReference image = ImageReference.Parse("registry.example/fn:v1");
        byte[] document = Encoding.UTF8.GetBytes(json.Replace("DIGEST", Digest.Compute("x"u8).ToString(), StringComparison.Ordinal));
        Assert.That(
            () => kind == "index" ? (object)OciDocuments.ParseIndex(image, document) : OciDocuments.ParseManifest(image, document),
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains(found));
    }

    [TestCase("""{"schemaVersion":null,"manifests":[]}""", "its schemaVersion is null, expected a whole number")]
    [TestCase("""{"schemaVersion":2.5,"layers":[]}""", "its schemaVersion is a number, expected a whole number")]
    [TestCase("""{"SchemaVersion":"2","layers":[]}""", "its SchemaVersion is of another kind, expected a whole number")]
    [TestCase("""{"schemaVersion":2,"mediaType":2,"layers":[]}""", "its mediaType is a number, expected a text")]
    [TestCase("""{"schemaVersion":2,"mediaType":{},"layers":[]}""", "its mediaType is of another kind, expected a text")]
    public void A_field_of_another_kind_is_named(string json, string found) => Assert.That(
        () => OciDocuments.IsIndex(ImageReference.Parse("registry.example/fn:v1"), new FetchedManifest { Content = Encoding.UTF8.GetBytes(json) }),
        Throws.InstanceOf<InvalidImageException>().With.Message.Contains(found));

    /// <summary>As docker does; podman refuses it.</summary>
    [Test]
    public void A_command_that_is_a_text_is_one_word()
    {
        ImageConfig config = OciDocuments.ParseConfig(
            ImageReference.Parse("registry.example/fn:v1"), """{"config":{"Entrypoint":"/bin/a b","Cmd":"c"},"rootfs":{"diff_ids":[]}}"""u8);
        Assert.That(config.Config!.Entrypoint, Is.EqualTo(["/bin/a b"]));
        Assert.That(config.Config.Cmd, Is.EqualTo(["c"]));
        Assert.That(OciDocuments.ParseConfig(ImageReference.Parse("registry.example/fn:v1"), OciJson.Serialize(config)).Config!.Cmd, Is.EqualTo(["c"]));
    }

    /// <summary>Another reader would take the other one.</summary>
    [TestCase("""{"config":{"Cmd":["a"],"cmd":["b"]},"rootfs":{"diff_ids":[]}}""")]
    public void Two_fields_of_one_name_in_two_cases_are_refused(string json) =>
        Assert.That(() => OciDocuments.ParseConfig(ImageReference.Parse("registry.example/fn:v1"), Encoding.UTF8.GetBytes(json)), Throws.InstanceOf<InvalidImageException>());

    [Test]
    public void An_index_that_is_a_manifest_too_in_another_case_is_refused() =>
        Assert.That(
            () => OciDocuments.IsIndex(ImageReference.Parse("registry.example/fn:v1"), new FetchedManifest { Content = """{"schemaVersion":2,"manifests":[],"Layers":[]}"""u8.ToArray() }),
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains("an index and a manifest at once"));
}
