using System.Formats.Tar;
using System.Text;
using System.Text.Json.Nodes;

namespace Xfn.Core.Images.Tests;

[CancelAfter(60_000)]
public class ImageBuilderTests
{
    private TemporaryDirectory _directory = null!;

    private Layout Written => new(_directory["layout"]);

    private string Target => $"oci:{_directory["layout"]}";

    [SetUp]
    public void MakeDirectory() => _directory = new TemporaryDirectory();

    [TearDown]
    public void DeleteDirectory() => _directory.Dispose();

    [Test]
    public async Task The_same_files_make_the_same_image_wherever_and_whenever(CancellationToken token)
    {
        Directory.CreateDirectory(_directory["files/sub"]);
        await File.WriteAllTextAsync(_directory["files/sub/a"], "a", token);
        await File.WriteAllTextAsync(_directory["files/b"], new string('b', 3 << 20), token);
        ImageBuilder Builder() => new ImageBuilder().AddDirectory(_directory["files"], "/srv").WithEnvironment("B", "2").WithEnvironment("A", "1").WithLabel("z", "1").WithLabel("a", "2");
        ImageReference first = await Builder().WriteToAsync(Target, cancellationToken: token);
        File.SetLastWriteTimeUtc(_directory["files/b"], DateTime.UnixEpoch);
        ImageReference second = await Builder().WriteToAsync($"oci:{_directory["elsewhere"]}:v1", cancellationToken: token);
        ImageReference archive = await Builder().WriteToAsync($"oci-archive:{_directory["image.tar"]}", cancellationToken: token);
        byte[] bytes = await File.ReadAllBytesAsync(_directory["image.tar"], token);
        await Builder().WriteToAsync($"oci-archive:{_directory["image.tar"]}", cancellationToken: token);

        Assert.That(second.Digest, Is.EqualTo(first.Digest));
        Assert.That(archive.Digest, Is.EqualTo(first.Digest));
        Assert.That(await File.ReadAllBytesAsync(_directory["image.tar"], token), Is.EqualTo(bytes));
    }

    [Test]
    public async Task Digests_sizes_and_DiffIDs_are_those_of_the_bytes_written(CancellationToken token)
    {
        // More than one block of the compressor's, and not a multiple of it.
        byte[] content = new byte[(5 << 20) + 17];
        new Random(1).NextBytes(content.AsSpan(0, 1 << 20));
        await File.WriteAllBytesAsync(_directory["large"], content, token);
        await new ImageBuilder().AddFile(_directory["large"], "/srv/large").WriteToAsync(Target, cancellationToken: token);
        ImageManifest manifest = Written.Manifest();
        Descriptor layer = manifest.Layers.Single();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Digest.Compute(Written.Blob(layer)), Is.EqualTo(layer.Digest));
            Assert.That(Written.Blob(layer), Has.Length.EqualTo(layer.Size));
            Assert.That(Written.Config(manifest)["rootfs"]!["diff_ids"]!.AsArray().Single()!.ToString(), Is.EqualTo(Digest.Compute(Written.Archive(layer)).ToString()));
            Assert.That(Tool.Run("sh", "-c", $"gzip -dc < {_directory["layout"]}/blobs/sha256/{layer.Digest.Hex} | tar -xO srv/large | sha256sum").Split(' ')[0], Is.EqualTo(Digest.Compute(content).Hex));
        }
    }

    [Test]
    public async Task Entries_are_sorted_roots_and_of_one_time_and_keep_links_and_long_names(CancellationToken token)
    {
        string name = string.Join('/', Enumerable.Repeat(new string('n', 50), 5));
        Directory.CreateDirectory(_directory["files"]);
        await File.WriteAllTextAsync(_directory["files/script"], "#!/bin/sh\n", token);
        File.SetUnixFileMode(_directory["files/script"], (UnixFileMode)0b111_000_000);
        await File.WriteAllTextAsync(_directory["files/é"], "", token);
        File.CreateSymbolicLink(_directory["files/link"], "../nowhere");
        await new ImageBuilder().AddDirectory(_directory["files"], "/srv").AddFile(new LayerFile(name) { Content = "deep"u8.ToArray(), Mode = (UnixFileMode)0b110_000_000, Uid = 5, Gid = 6 })
            .WithTime(DateTimeOffset.FromUnixTimeSeconds(1_700_000_000)).WriteToAsync(Target, cancellationToken: token);

        IReadOnlyList<TarEntry> entries = Written.Entries(Written.Manifest().Layers.Single());
        TarEntry deep = entries.Single(e => e.Name == name);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(entries.Select(e => $"{e.Name} {Convert.ToString((int)e.Mode, 8)} {e.Uid}").TakeLast(4), Is.EqualTo((string[])["srv/ 755 0", "srv/link 755 0", "srv/script 755 0", "srv/é 644 0"]));
            Assert.That(entries.Single(e => e.Name == "srv/link").LinkName, Is.EqualTo("../nowhere"));
            Assert.That((deep.Uid, deep.Gid, new StreamReader(deep.DataStream!).ReadToEnd()), Is.EqualTo((5, 6, "deep")));
            Assert.That(entries.Select(e => e.ModificationTime.ToUnixTimeSeconds()).Distinct(), Is.EqualTo((long[])[1_700_000_000]));
        }
    }

    [Test]
    public async Task A_configuration_says_what_was_said(CancellationToken token)
    {
        await new ImageBuilder().AddFile(new LayerFile("fn")).WithPlatform("linux/arm64/v8").WithEntrypoint("/fn", "-x").WithArguments("a", "").WithUser("1000:50").WithWorkingDirectory("/srv").WithEnvironment("A", "1=2").WithLabel("org.example", "l")
            .WithPort(9443).WithPort(53, "udp").WithVolume("/data").WithStopSignal("SIGINT").WithHealthcheck(["/fn", "check"], TimeSpan.FromSeconds(2), retries: 4).WithAnnotation("org.example.a", "b").WriteToAsync(Target, cancellationToken: token);
        ImageManifest manifest = Written.Manifest();
        JsonNode config = Written.Config(manifest);
        Assert.That(config["config"]!.ToJsonString(), Is.EqualTo("""{"User":"1000:50","ExposedPorts":{"53/udp":{},"9443/tcp":{}},"Env":["A=1=2"],"Entrypoint":["/fn","-x"],"Cmd":["a",""],"Volumes":{"/data":{}},"WorkingDir":"/srv","Labels":{"org.example":"l"},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD","/fn","check"],"Interval":2000000000,"Retries":4}}"""));
        Assert.That($"{config["os"]}/{config["architecture"]}/{config["variant"]} {config["created"]}", Is.EqualTo("linux/arm64/v8 1970-01-01T00:00:00Z"));
        Assert.That(manifest.Annotations, Is.EqualTo(new Dictionary<string, string> { ["org.example.a"] = "b" }));
    }

    [Test]
    public async Task A_base_keeps_what_it_has_and_its_layers_are_not_opened(CancellationToken token)
    {
        await new ImageBuilder().AddFile(new LayerFile("base")).WithEntrypoint("/base").WithArguments("of base").WithEnvironment("A", "base").WithEnvironment("B", "base").WithLabel("from", "base").WithUser("7").WriteToAsync($"{Target}:base", cancellationToken: token);
        string onBase = (await new ImageBuilder().From($"{Target}:base").AddFile(new LayerFile("tmp/top")).WithEnvironment("A", "top").WithEntrypoint("/top").WriteToAsync($"{Target}:top", cancellationToken: token)).ToString();
        ImageManifest bottom = Written.Manifest("base"), top = Written.Manifest("top");
        JsonNode config = Written.Config(top)["config"]!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(onBase, Does.StartWith($"{Target}:top@sha256:"));
            Assert.That(top.Layers[0], Is.EqualTo(bottom.Layers[0]));
            Assert.That(config.ToJsonString(), Is.EqualTo("""{"User":"7","Env":["B=base","A=top"],"Entrypoint":["/top"],"WorkingDir":"/","Labels":{"from":"base"}}"""));
            Assert.That(Written.Entries(top.Layers[1]).Select(e => e.Name), Is.EqualTo((string[])["tmp/top"]), "a base's directories stay as they are");
            Assert.That(Written.Config(top)["history"]!.AsArray(), Has.Count.EqualTo(2));
        }

        string bundle = _directory["bundle"];
        Tool.Run("umoci", "unpack", "--rootless", "--image", _directory["layout"] + ":top", bundle);
        Assert.That(File.Exists(bundle + "/rootfs/base") && File.Exists(bundle + "/rootfs/tmp/top"), Is.True);
    }

    [Test]
    public async Task Scratch_is_no_base_as_in_a_Dockerfile(CancellationToken token)
    {
        await new ImageBuilder().From("scratch").AddFile(new LayerFile("fn")).WriteToAsync($"{Target}:v1", cancellationToken: token);
        Assert.That(Written.Manifest("v1").Layers, Has.Count.EqualTo(1));
    }

    [TestCase("oci-archive")]
    [TestCase("docker-archive")]
    public async Task An_archive_is_what_skopeo_and_this_library_read(string transport, CancellationToken token)
    {
        ImageReference written = await new ImageBuilder().AddFile(new LayerFile("fn") { Content = "x"u8.ToArray() }).WithEntrypoint("/fn").WithLabel("a", "b").WriteToAsync($"{transport}:{_directory["image.tar"]}:fn:v1", cancellationToken: token);
        JsonNode seen = JsonNode.Parse(Tool.Run("skopeo", "inspect", $"{transport}:{_directory["image.tar"]}:fn:v1"))!;
        Assert.That((string?)seen["Labels"]!["a"], Is.EqualTo("b"));

        // As a base it is read by this library.
        await new ImageBuilder().From(written.ToString()).AddFile(new LayerFile("more")).WriteToAsync($"{Target}:v2", cancellationToken: token);
        Assert.That(Written.Manifest("v2").Layers, Has.Count.EqualTo(2));
        Assert.That(Directory.GetFileSystemEntries(_directory.Path).Select(Path.GetFileName).Order(), Is.EqualTo((string[])["image.tar", "layout"]));
    }

    [Test]
    public async Task An_image_in_memory_has_its_base_with_it(CancellationToken token)
    {
        var images = new InMemoryImageFetcher();
        await new ImageBuilder().AddFile(new LayerFile("base")).WriteToAsync($"{Target}:base", cancellationToken: token);
        ImageReference added = await new ImageBuilder().From($"{Target}:base").AddFile(new LayerFile("top") { Content = "t"u8.ToArray() }).AddToAsync(images, "fn:v1", token);
        FetchedManifest found = await images.FetchManifestAsync(ImageReference.Parse("fn:v1"), new FetchContext(), token);
        Assert.That(found.Digest, Is.EqualTo(added.Digest));
        foreach (Descriptor layer in OciJson.ParseManifest(found.Content.Span).Layers)
        {
            using Stream stream = await images.OpenBlobAsync(added, layer, 0, new FetchContext(), token);
            Assert.That(stream.Length, Is.EqualTo(layer.Size));
        }
    }

    [Test]
    public async Task Several_platforms_have_one_name(CancellationToken token)
    {
        ImageBuilder For(string platform) => new ImageBuilder().WithPlatform(platform).AddFile(new LayerFile("fn") { Content = Encoding.UTF8.GetBytes(platform) }).WithEntrypoint("/fn");
        ImageReference index = await ImageBuilder.WriteIndexToAsync([For("linux/amd64"), For("linux/arm64")], $"{Target}:v1", cancellationToken: token);
        Descriptor named = Written.Index.Manifests.Single();
        Assert.That((named.MediaType, named.Digest), Is.EqualTo((MediaTypes.OciIndex, index.Digest)));
        Assert.That(OciJson.ParseIndex(Written.Blob(named)).Manifests.Select(m => m.Platform!.ToString()), Is.EqualTo((string[])["linux/amd64", "linux/arm64"]));

        await new ImageBuilder().From($"{Target}:v1").WithPlatform("linux/arm64").WithLabel("a", "b").WriteToAsync($"{Target}:arm", cancellationToken: token);
        Assert.That((string?)Written.Config(Written.Manifest("arm"))["architecture"], Is.EqualTo("arm64"));
        Assert.That(() => ImageBuilder.WriteIndexToAsync([For("linux/amd64"), For("linux/amd64")], Target, cancellationToken: token), Throws.ArgumentException.With.Message.Contains("twice for platform linux/amd64"));
        Assert.That(() => ImageBuilder.WriteIndexToAsync([For("linux/amd64"), For("linux/arm64")], $"docker-archive:{_directory["x.tar"]}", cancellationToken: token), Throws.TypeOf<XfnException>().With.Message.Contains("docker's archives have one"));
        Assert.That(File.Exists(_directory["x.tar"]), Is.False);
    }

    [Test]
    public async Task A_layout_holds_several_images_and_a_tag_moves(CancellationToken token)
    {
        Task<ImageReference> Write(string content, string tag) => new ImageBuilder().AddFile(new LayerFile("fn") { Content = Encoding.UTF8.GetBytes(content) }).WriteToAsync($"{Target}:{tag}", cancellationToken: token);
        await Write("1", "one");
        await Write("2", "two");
        ImageReference moved = await Write("2", "one");
        Assert.That(Written.Index.Manifests.Select(m => m.Annotations!.Values.Single()), Is.EqualTo((string[])["two", "one"]));
        Assert.That(Written.Index.Manifests[1].Digest, Is.EqualTo(moved.Digest));
        Assert.That(Directory.GetFiles(_directory["layout"]).Select(Path.GetFileName).Order(), Is.EqualTo((string[])["index.json", "oci-layout"]));
    }

    [Test]
    public async Task A_package_is_marked_in_the_manifest_and_in_the_labels(CancellationToken token)
    {
        Directory.CreateDirectory(_directory["package"]);
        await File.WriteAllTextAsync(_directory["package/crossplane.yaml"], "kind: Function\n", token);
        await File.WriteAllTextAsync(_directory["package/input.yaml"], "---\nkind: CustomResourceDefinition\n", token);
        ImageBuilder builder = new ImageBuilder().AddFile(new LayerFile("fn")).WithEntrypoint("/fn").WithPackage(_directory["package"]);
        await builder.WriteToAsync(Target, cancellationToken: token);
        await builder.WriteToAsync($"docker-archive:{_directory["fn.xpkg"]}", cancellationToken: token);

        ImageManifest manifest = Written.Manifest();
        Descriptor layer = manifest.Layers[^1];
        TarEntry file = Written.Entries(layer).Single();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(layer.Annotations, Is.EqualTo(new Dictionary<string, string> { ["io.crossplane.xpkg"] = "base" }));
            Assert.That((file.Name, Convert.ToString((int)file.Mode, 8)), Is.EqualTo(("package.yaml", "644")));
            Assert.That(new StreamReader(file.DataStream!).ReadToEnd(), Is.EqualTo("kind: Function\n---\n---\nkind: CustomResourceDefinition\n"));
        }

        // The label is by the digest that the layer has in the archive, by which it is found there.
        Tool.Run("skopeo", "copy", "--quiet", "--insecure-policy", $"docker-archive:{_directory["fn.xpkg"]}", $"dir:{_directory["seen"]}");
        string[] names = Tool.Run("tar", "-xOf", _directory["fn.xpkg"], "manifest.json").Split('"');
        string config = Tool.Run("tar", "-xOf", _directory["fn.xpkg"], names[3]);
        Assert.That((string?)JsonNode.Parse(config)!["config"]!["Labels"]![$"io.crossplane.xpkg:{layer.Digest}"], Is.EqualTo("base"));
        Assert.That(names, Does.Contain($"blobs/sha256/{layer.Digest.Hex}"));
    }

    [Test]
    public void What_cannot_be_made_leaves_nothing(CancellationToken token)
    {
        void Refused(ImageBuilder builder, string said) =>
            Assert.That(() => builder.WriteToAsync($"oci:{_directory["new/layout"]}", cancellationToken: token), Throws.InstanceOf<XfnException>().With.Message.Contains(said));
        Refused(new ImageBuilder(), "cannot make an image of nothing");
        Refused(new ImageBuilder().From($"oci:{_directory["none"]}").AddFile(new LayerFile("a")), "cannot find image");
        Refused(new ImageBuilder().AddProgram("/etc/passwd"), "it is no ELF executable");
        Refused(new ImageBuilder().AddFile(new LayerFile("a") { SourcePath = _directory["gone"] }), "gone");
        Assert.That(Directory.GetFileSystemEntries(_directory.Path), Is.Empty);

        File.WriteAllText(Path.Combine(Directory.CreateDirectory(_directory["layout"]).FullName, "precious"), "");
        Assert.That(() => new ImageBuilder().AddFile(new LayerFile("a")).WriteToAsync(Target, cancellationToken: token), Throws.TypeOf<XfnException>().With.Message.Contains("no OCI layout"));
        Assert.That(Directory.GetFileSystemEntries(_directory["layout"]), Has.Length.EqualTo(1));
    }

    [TestCase("/dev/zero")]
    [TestCase("/dev/null")]
    public void A_device_is_not_read_without_an_end(string path) =>
        Assert.That(() => new ImageBuilder().AddFile(path, "/x"), Throws.ArgumentException.With.Message.Contains("a device, a pipe or a socket"));

    [TestCase("../a")]
    [TestCase("/a//b")]
    [TestCase("/")]
    [TestCase("a\0b")]
    public void A_path_that_leads_nowhere_is_refused_at_once(string path) =>
        Assert.That(() => new ImageBuilder().AddFile(new LayerFile(path)), Throws.ArgumentException);
}
