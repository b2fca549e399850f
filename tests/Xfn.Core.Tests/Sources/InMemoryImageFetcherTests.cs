using System.Formats.Tar;
using System.Text;
using Xfn.Core.Tests.Registry;

namespace Xfn.Core.Tests.Sources;

[CancelAfter(60_000)]
public class InMemoryImageFetcherTests
{
    private readonly InMemoryImageFetcher _fetcher = new();

    [Test]
    public async Task An_image_of_files_is_an_image(CancellationToken token)
    {
        Digest digest = _fetcher.AddImage(
            "fn:v1",
            new ImageExecutionConfig { Entrypoint = ["/bin/fn"] },
            InMemoryImageFetcher.Layer(
                new LayerFile("/bin/") { Mode = UnixFileMode.UserRead },
                new LayerFile("/bin/fn") { Content = Encoding.UTF8.GetBytes("#!/bin/sh\n") },
                new LayerFile("etc/link") { SymbolicLink = "/bin/fn" }));

        ImageManifest manifest = await _fetcher.WholeImageAsync("docker.io/library/fn:v1", token: token);
        using var tar = new TarReader(new MemoryStream(await _fetcher.BlobAsync("fn:v1", manifest.Layers[0], token: token)));
        var entries = new List<string>();
        while (tar.GetNextEntry() is { } entry)
            entries.Add($"{entry.EntryType} {entry.Name} {entry.LinkName} {entry.Length}");

        Assert.That(entries, Is.EqualTo(["Directory bin/  0", "RegularFile bin/fn  10", "SymbolicLink etc/link /bin/fn 0"]).AsCollection);
        Assert.That(OciJson.ParseConfig(await _fetcher.BlobAsync("fn:v1", manifest.Config, token: token)).Config!.Entrypoint, Is.EqualTo(["/bin/fn"]).AsCollection);
        Assert.That((await _fetcher.ManifestAsync($"fn@{digest}", token: token)).Digest, Is.EqualTo(digest));
    }

    [Test]
    public void The_same_files_make_the_same_image()
    {
        Digest Add(string name) => _fetcher.AddImage(name, new ImageExecutionConfig(), InMemoryImageFetcher.Layer(new LayerFile("a") { Content = new byte[5] }));
        Assert.That(Add("one"), Is.EqualTo(Add("two")));
    }

    [Test]
    public async Task A_name_moves_when_something_else_is_added_under_it(CancellationToken token)
    {
        Digest first = _fetcher.AddImage("moving", new ImageExecutionConfig());
        Assert.That((await _fetcher.ManifestAsync("moving", new FetchContext { KnownDigest = first }, token)).IsNotModified, Is.True);
        Digest second = _fetcher.AddImage("moving", new ImageExecutionConfig { User = "1" });
        Assert.That((await _fetcher.ManifestAsync("moving", new FetchContext { KnownDigest = first }, token)).Digest, Is.EqualTo(second));
    }

    [Test]
    public async Task A_blob_is_read_from_an_offset(CancellationToken token)
    {
        Descriptor blob = _fetcher.AddBlob(MediaTypes.OciLayer, new byte[] { 1, 2, 3 });
        Assert.That(await _fetcher.BlobAsync("x", blob, 2, token: token), Is.EqualTo(new byte[] { 3 }));
        Assert.That(await _fetcher.BlobAsync("x", blob, 3, token: token), Is.Empty);
    }

    [Test]
    public void What_was_not_added_is_not_found(CancellationToken token)
    {
        _fetcher.AddImage("known", new ImageExecutionConfig());
        Assert.That(() => _fetcher.ManifestAsync("unknown", token: token), Throws.TypeOf<ImageNotFoundException>().With.Message.Contains("index.docker.io/library/known:latest"));
        Assert.That(() => _fetcher.BlobAsync("known", FaultyRegistry.LayerDescriptor, token: token), Throws.TypeOf<XfnException>().With.Message.Contains("AddBlob"));
    }
}
