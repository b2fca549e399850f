using Xfn.Core.Sources;
using Xfn.Core.Tests.Registry;

namespace Xfn.Core.Tests.Sources;

[CancelAfter(60_000)]
public class OciLayoutImageFetcherTests
{
    private readonly OciLayoutImageFetcher _fetcher = new();

    [Test]
    public async Task An_image_of_umoci_is_fetched_whole(CancellationToken token)
    {
        ImageManifest manifest = await _fetcher.WholeImageAsync($"oci:{TestImages.Layout}:v1", token: token);
        Assert.That(manifest.Layers, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task An_image_is_fetched_by_digest(CancellationToken token)
    {
        FetchedManifest tagged = await _fetcher.ManifestAsync($"oci:{TestImages.Layout}:v1", token: token);
        FetchedManifest pinned = await _fetcher.ManifestAsync($"oci:{TestImages.Layout}@{tagged.Digest}", token: token);
        Assert.That(pinned.Content.ToArray(), Is.EqualTo(tagged.Content.ToArray()));
    }

    [Test]
    public async Task A_known_manifest_is_not_read_again(CancellationToken token)
    {
        string image = $"oci:{TestImages.Layout}:v1";
        FetchedManifest first = await _fetcher.ManifestAsync(image, token: token);
        FetchedManifest again = await _fetcher.ManifestAsync(image, new FetchContext { KnownDigest = first.Digest }, token);
        Assert.That(again.IsNotModified, Is.True);
    }

    [Test]
    public async Task A_known_manifest_is_given_up_when_the_layout_changes_and_when_it_goes(CancellationToken token)
    {
        using TemporaryDirectory directory = new();
        Tool.Run("cp", "-r", TestImages.Layout, directory["layout"]);
        string image = $"oci:{directory["layout"]}:v1", index = Path.Combine(directory["layout"], "index.json");
        FetchedManifest first = await _fetcher.ManifestAsync(image, token: token);
        FetchedManifest other = await _fetcher.ManifestAsync($"oci:{directory["layout"]}:v2", token: token);
        var known = new FetchContext { KnownDigest = first.Digest };
        Assert.That((await _fetcher.ManifestAsync(image, known, token)).IsNotModified, Is.True);

        // Of the same length, in the same file, at once.
        await File.WriteAllTextAsync(index, (await File.ReadAllTextAsync(index, token)).Replace("\"v1\"", "\"v3\"").Replace("\"v2\"", "\"v1\""), token);
        FetchedManifest changed = await _fetcher.ManifestAsync(image, known, token);
        Assert.That((changed.IsNotModified, changed.Digest), Is.EqualTo((false, other.Digest)));

        File.Delete(index);
        Assert.That(() => _fetcher.ManifestAsync(image, new FetchContext { KnownDigest = other.Digest }, token), Throws.TypeOf<ImageNotFoundException>());
    }

    [Test]
    public async Task A_blob_is_read_from_an_offset(CancellationToken token)
    {
        string image = $"oci:{TestImages.Layout}:v1";
        Descriptor layer = OciJson.ParseManifest((await _fetcher.ManifestAsync(image, token: token)).Content.Span).Layers[1];
        Assert.That(await _fetcher.BlobAsync(image, layer, 7, token: token), Is.EqualTo((await _fetcher.BlobAsync(image, layer, token: token))[7..]));
    }

    [Test]
    public void A_layout_of_several_images_wants_a_tag(CancellationToken token) => Assert.That(
        () => _fetcher.ManifestAsync($"oci:{TestImages.Layout}", token: token),
        Throws.TypeOf<ImageNotFoundException>().With.Message.Contains("'v1', 'v2'"));

    [TestCase("oci:{0}:v9", "the layout has the names 'v1', 'v2'")]
    [TestCase("oci:{0}/none:v1", "there is no")]
    public void What_is_not_there_is_not_found(string image, string why, CancellationToken token) => Assert.That(
        () => _fetcher.ManifestAsync(string.Format(null, image, TestImages.Layout), token: token),
        Throws.TypeOf<ImageNotFoundException>().With.Message.Contains(why));

    [TestCase("oci:{0}:v1")]
    [TestCase("oci-archive:{0}/index.json:v1")]
    public void What_would_be_waited_for_for_ever_is_not_opened(string image, CancellationToken token)
    {
        using TemporaryDirectory directory = new();
        Tool.Run("mkfifo", directory["index.json"]);
        using var all = new DefaultImageFetcher();
        Assert.That(() => all.ManifestAsync(string.Format(null, image, directory.Path), token: token), Throws.TypeOf<XfnException>().With.Message.Contains("no regular file"));
    }
}
