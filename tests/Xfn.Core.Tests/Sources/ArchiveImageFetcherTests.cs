using System.Formats.Tar;
using System.Text;
using Xfn.Core.Sources;
using Xfn.Core.Tests.Registry;

namespace Xfn.Core.Tests.Sources;

/// <summary>Archives by skopeo, and archives by nobody in their right mind.</summary>
[CancelAfter(120_000)]
public class ArchiveImageFetcherTests
{
    private readonly ArchiveImageFetcher _fetcher = new();
    private TemporaryDirectory _directory = null!;

    [OneTimeSetUp]
    public void Export()
    {
        _directory = new TemporaryDirectory();
        Tool.Run("skopeo", "copy", "--quiet", "--insecure-policy", $"oci:{TestImages.Layout}:v1", $"oci-archive:{_directory["oci.tar"]}:v1");
        Tool.Run("skopeo", "copy", "--quiet", "--insecure-policy", $"oci:{TestImages.Layout}:v1", $"docker-archive:{_directory["docker.tar"]}:team/fn:v1");
        foreach (string file in new[] { "oci.tar", "docker.tar" })
        {
            Tool.Run("gzip", "--keep", _directory[file]);
            Tool.Run("xz", "--keep", "-T1", _directory[file]);
            Tool.Run("zstd", "--quiet", "--keep", _directory[file]);
            Tool.Run("bzip2", "--keep", _directory[file]);
        }
    }

    [OneTimeTearDown]
    public void Delete() => _directory.Dispose();

    [TestCase("oci-archive:{0}/oci.tar:v1")]
    [TestCase("oci-archive:{0}/oci.tar")]
    [TestCase("oci-archive:{0}/oci.tar.gz:v1")]
    [TestCase("oci-archive:{0}/oci.tar.xz:v1")]
    [TestCase("oci-archive:{0}/oci.tar.zst:v1")]
    [TestCase("docker-archive:{0}/docker.tar")]
    [TestCase("docker-archive:{0}/docker.tar:team/fn:v1")]
    [TestCase("docker-archive:{0}/docker.tar:docker.io/team/fn:v1")]
    [TestCase("docker-archive:{0}/docker.tar.gz")]
    [TestCase("docker-archive:{0}/docker.tar.xz")]
    [TestCase("docker-archive:{0}/docker.tar.zst")]
    [TestCase("oci-archive:{0}/oci.tar.bz2:v1")]
    [TestCase("docker-archive:{0}/docker.tar.bz2")]
    [TestCase("docker-archive:{0}/oci.tar")]
    [TestCase("docker-archive:{0}/oci.tar.gz:v1")]
    [TestCase("oci-archive:{0}/docker.tar")]
    [TestCase("oci-archive:{0}/docker.tar.xz:team/fn:v1")]
    public async Task An_image_is_fetched_whole(string image, CancellationToken token)
    {
        image = string.Format(null, image, _directory.Path);
        ImageManifest manifest = await _fetcher.WholeImageAsync(image, token: token);
        Assert.That(manifest.Layers, Has.Count.EqualTo(2));
        FetchedManifest fetched = await _fetcher.ManifestAsync(image, token: token);
        Assert.That((await _fetcher.ManifestAsync(image, new FetchContext { KnownDigest = fetched.Digest }, token)).IsNotModified, Is.True);
        Assert.That((await new ArchiveImageFetcher().BlobAsync(image, manifest.Layers[0], token: token)), Has.Length.EqualTo(manifest.Layers[0].Size), "by a fetcher that did not make the manifest");
    }

    [Test]
    public void A_file_with_a_colon_in_its_name_is_told_of(CancellationToken token)
    {
        File.CreateSymbolicLink(_directory["fn:1.0.tar"], _directory["docker.tar"]);
        Assert.That(
            () => _fetcher.ManifestAsync($"docker-archive:{_directory["fn:1.0.tar"]}", token: token),
            Throws.TypeOf<ImageNotFoundException>().With.Message.Contains($"A path ends at its first colon: rename '{_directory["fn:1.0.tar"]}'"));
    }

    [TestCase("docker-archive:{0}/docker.tar:other/fn:v1", "'docker.io/team/fn:v1'")]
    [TestCase("oci-archive:{0}/oci.tar:v9", "'v1'")]
    [TestCase("oci-archive:{0}/none.tar:v9", "there is no")]
    public void What_the_archive_lacks_is_not_found(string image, string why, CancellationToken token) => Assert.That(
        () => _fetcher.ManifestAsync(string.Format(null, image, _directory.Path), token: token), Throws.TypeOf<ImageNotFoundException>().With.Message.Contains(why));

    [Test]
    public async Task A_blob_is_not_begun_in_its_middle(CancellationToken token)
    {
        string image = $"oci-archive:{_directory["oci.tar"]}:v1";
        Descriptor layer = OciJson.ParseManifest((await _fetcher.ManifestAsync(image, token: token)).Content.Span).Layers[0];
        Assert.That(() => _fetcher.BlobAsync(image, layer, 1, token: token), Throws.TypeOf<NotSupportedException>());
    }

    [Test]
    public async Task A_file_that_changed_is_read_again(CancellationToken token)
    {
        string file = _directory["changing.tar"];
        WriteTar(file, ("manifest.json", "[]"));
        Assert.That(() => _fetcher.ManifestAsync("docker-archive:" + file, token: token), Throws.InstanceOf<XfnException>().With.Message.Contains(file));
        File.Copy(_directory["docker.tar"], file, overwrite: true);
        ImageManifest changed = await _fetcher.WholeImageAsync("docker-archive:" + file, token: token);
        Assert.That(changed.Config.Digest, Is.EqualTo((await _fetcher.WholeImageAsync("docker-archive:" + _directory["docker.tar"], token: token)).Config.Digest));
    }

    [Test]
    public async Task A_layer_that_is_a_link_to_another_is_that_one(CancellationToken token)
    {
        byte[] layer = InMemoryImageFetcher.Layer(new LayerFile("a")).ToArray();
        string config = $$$"""{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["{{{Digest.Compute(layer)}}}","{{{Digest.Compute(layer)}}}"]}}""";
        string file = _directory["links.tar"];
        WriteTar(
            file, ("x/layer.tar", Encoding.Latin1.GetString(layer)), ("y/layer.tar", "->../x/layer.tar"), ("c.json", config),
            ("manifest.json", """[{"Config":"c.json","RepoTags":["x:1"],"Layers":["x/layer.tar","y/layer.tar"]}]"""));
        Assert.That((await _fetcher.WholeImageAsync("docker-archive:" + file, token: token)).Layers, Has.Count.EqualTo(2));
    }

    /// <summary>As pzstd makes it.</summary>
    [Test]
    public async Task A_layer_of_zstd_may_begin_with_a_frame_that_is_to_be_skipped(CancellationToken token)
    {
        byte[] layer = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 0, 0, 0, 0, 0x28, 0xb5, 0x2f, 0xfd, .. "and the rest of it"u8];
        string config = $$$"""{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["{{{Digest.Compute("the archive"u8)}}}"]}}""";
        string file = _directory["pzstd.tar"];
        WriteTar(file, ("layer", Encoding.Latin1.GetString(layer)), ("c.json", config), ("manifest.json", """[{"Config":"c.json","Layers":["layer"]}]"""));
        Descriptor described = OciJson.ParseManifest((await _fetcher.ManifestAsync("docker-archive:" + file, token: token)).Content.Span).Layers[0];
        Assert.That((described.MediaType, described.Digest), Is.EqualTo((MediaTypes.OciLayerZstd, Digest.Compute(layer))));
    }

    [TestCase("a page", "is no tar archive")]
    [TestCase("a page.gz", "gzip")]
    [TestCase("a page.bz2", "bzip2")]
    [TestCase("a directory", "write oci:")]
    [TestCase("nothing", "is empty")]
    [TestCase("other files", "no image's")]
    [TestCase("old docker", "before 1.10")]
    [TestCase("a digest", "have no digests")]
    public void What_a_file_is_instead_is_told(string what, string why, CancellationToken token)
    {
        string file = _directory["not " + what], page = Path.ChangeExtension(file, null), reference = "docker-archive:" + file;
        switch (what)
        {
            case "a directory":
                Directory.CreateDirectory(file);
                break;
            case "nothing":
                File.WriteAllText(file, "");
                break;
            case "other files":
                WriteTar(file, ("README", "x"));
                break;
            case "old docker":
                WriteTar(file, ("repositories", "{}"), ("0123/layer.tar", "x"));
                break;
            case "a digest":
                File.Copy(_directory["docker.tar"], file);
                reference += $"@{Digest.Compute("x"u8)}";
                break;
            default:
                File.WriteAllText(page, "<!doctype html><html><body>" + new string('x', 2000) + "</body></html>");
                if (what.EndsWith(".gz", StringComparison.Ordinal))
                    Tool.Run("gzip", "--keep", page);
                if (what.EndsWith(".bz2", StringComparison.Ordinal))
                    Tool.Run("bzip2", "--keep", page);
                break;
        }

        Assert.That(() => _fetcher.ManifestAsync(reference, token: token), Throws.TypeOf<InvalidImageException>().With.Message.Contains(file).And.Message.Contains(why));
    }

    [TestCase("random bytes")]
    [TestCase("empty")]
    [TestCase("cut")]
    [TestCase("cut.gz")]
    [TestCase("cut.xz")]
    [TestCase("cut.zst")]
    [TestCase("cut.bz2")]
    [TestCase("no manifest")]
    [TestCase("manifest null")]
    [TestCase("manifest no json")]
    [TestCase("manifest too large")]
    [TestCase("lacking a layer")]
    [TestCase("lacking a DiffID")]
    [TestCase("link loop")]
    [TestCase("names that lead out")]
    public void What_is_no_archive_of_an_image_is_refused(string what, CancellationToken token)
    {
        string file = _directory["bad " + what];
        const string Config = """{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}""";
        switch (what)
        {
            case "random bytes":
                byte[] random = new byte[10_000];
                new Random(1).NextBytes(random);
                File.WriteAllBytes(file, random);
                break;
            case "empty":
                File.WriteAllText(file, "");
                break;
            case { } cut when cut.StartsWith("cut", StringComparison.Ordinal):
                File.WriteAllBytes(file, File.ReadAllBytes(_directory["docker.tar" + cut[3..]])[..1500]);
                break;
            case "no manifest":
                WriteTar(file, ("x", "y"));
                break;
            case "manifest null":
                WriteTar(file, ("manifest.json", "[null]"));
                break;
            case "manifest no json":
                WriteTar(file, ("manifest.json", "<html>"));
                break;
            case "manifest too large":
                WriteTar(file, ("manifest.json", new string(' ', 5 << 20)));
                break;
            case "lacking a layer":
                WriteTar(file, ("c.json", Config), ("manifest.json", """[{"Config":"c.json","Layers":["l"]}]"""));
                break;
            case "lacking a DiffID":
                WriteTar(file, ("c.json", Config), ("l", "x"), ("manifest.json", """[{"Config":"c.json","Layers":["l"]}]"""));
                break;
            case "link loop":
                WriteTar(file, ("c.json", "->d.json"), ("d.json", "->c.json"), ("manifest.json", """[{"Config":"c.json","Layers":[]}]"""));
                break;
            default:
                WriteTar(file, ("c.json", "->../../../../../../etc/hostname"), ("manifest.json", """[{"Config":"/etc/hostname","Layers":["../../etc/passwd"]}]"""));
                break;
        }

        Assert.That(() => _fetcher.ManifestAsync("docker-archive:" + file, token: token), Throws.TypeOf<InvalidImageException>().With.Message.Contains(file));
    }

    private static void WriteTar(string file, params (string Name, string Content)[] entries)
    {
        using var writer = new TarWriter(File.Create(file));
        foreach ((string name, string content) in entries)
        {
            bool link = content.StartsWith("->", StringComparison.Ordinal);
            var entry = new PaxTarEntry(link ? TarEntryType.SymbolicLink : TarEntryType.RegularFile, name);
            if (link)
                entry.LinkName = content[2..];
            else
                entry.DataStream = new MemoryStream(Encoding.Latin1.GetBytes(content));
            writer.WriteEntry(entry);
        }
    }
}
