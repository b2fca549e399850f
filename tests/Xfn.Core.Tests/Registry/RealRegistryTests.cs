using System.Net;
using System.Net.NetworkInformation;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>Against Debian's docker-registry, with images by umoci and skopeo.</summary>
[CancelAfter(60_000)]
public class RealRegistryTests
{
    private DockerRegistry _registry = null!;

    [OneTimeSetUp]
    public void Start()
    {
        _registry = new DockerRegistry();
        _registry.Push($"oci:{TestImages.Layout}:v1", "team/fn:v1");
        _registry.Push($"oci:{TestImages.Layout}:v1", "team/fn:docker", "--format=v2s2");
    }

    [OneTimeTearDown]
    public void Stop() => _registry.Dispose();

    [TestCase("v1", MediaTypes.OciManifest)]
    [TestCase("docker", MediaTypes.DockerManifest)]
    public async Task An_image_is_fetched_whole(string tag, string mediaType, CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher();
        string image = $"{_registry.Host}/team/fn:{tag}";

        ImageManifest manifest = await fetcher.WholeImageAsync(image, token: token);

        Assert.That(manifest.Layers, Has.Count.EqualTo(2));
        Assert.That((await fetcher.ManifestAsync(image, token: token)).MediaType, Is.EqualTo(mediaType));
    }

    [Test]
    public async Task A_registry_may_be_named_by_its_ipv6_address(CancellationToken token)
    {
        if (!NetworkInterface.GetAllNetworkInterfaces().SelectMany(i => i.GetIPProperties().UnicastAddresses).Any(a => a.Address.Equals(IPAddress.IPv6Loopback)))
            Assert.Ignore("this machine has no [::1]");

        // Pushed to the other one: skopeo takes no such address.
        using var registry = new DockerRegistry(address: IPAddress.IPv6Loopback, storage: _registry);
        using var fetcher = new RegistryImageFetcher();
        ImageManifest manifest = await fetcher.WholeImageAsync($"[::1]:{registry.Port}/team/fn:v1", token: token);
        Assert.That(manifest.Layers, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task A_known_manifest_is_not_sent_again_until_the_tag_moves(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher();
        _registry.Push($"oci:{TestImages.Layout}:v1", "team/moving:tag");
        string image = $"{_registry.Host}/team/moving:tag";
        FetchedManifest first = await fetcher.ManifestAsync(image, token: token);

        FetchedManifest again = await fetcher.ManifestAsync(image, new FetchContext { KnownDigest = first.Digest }, token);
        _registry.Push($"oci:{TestImages.Layout}:v2", "team/moving:tag");
        FetchedManifest moved = await fetcher.ManifestAsync(image, new FetchContext { KnownDigest = first.Digest }, token);

        Assert.That(again.IsNotModified, Is.True);
        Assert.That(again.Digest, Is.EqualTo(first.Digest));
        Assert.That(moved.IsNotModified, Is.False);
        Assert.That(moved.Digest, Is.Not.EqualTo(first.Digest));
        Assert.That(moved.Digest.Matches(moved.Content.Span), Is.True);
    }

    [Test]
    public async Task A_blob_is_taken_up_again_where_it_broke_off(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher();
        string image = $"{_registry.Host}/team/fn:v1";
        Descriptor layer = OciJson.ParseManifest((await fetcher.ManifestAsync(image, token: token)).Content.Span).Layers[1];
        byte[] whole = await fetcher.BlobAsync(image, layer, token: token);

        byte[] rest = await fetcher.BlobAsync(image, layer, 1000, token: token);
        byte[] nothing = await fetcher.BlobAsync(image, layer, layer.Size, token: token);

        Assert.That(rest, Is.EqualTo(whole[1000..]));
        Assert.That(nothing, Is.Empty);
    }

    [Test]
    public void What_the_registry_lacks_is_not_found(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher();
        Assert.That(
            () => fetcher.ManifestAsync($"{_registry.Host}/team/fn:none", token: token),
            Throws.TypeOf<ImageNotFoundException>().With.Message.Contains("team/fn:none").And.Message.Contains("does not have it"));
    }

    [Test]
    public void A_registry_that_does_not_run_is_named_with_what_to_do(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher();
        int port = DockerRegistry.FreePort();
        Assert.That(
            () => fetcher.ManifestAsync($"127.0.0.1:{port}/fn", token: token),
            Throws.TypeOf<XfnException>().With.Message.StartsWith($"cannot reach registry '127.0.0.1:{port}'").And.Message.Contains("connection refused. Check"));
    }
}
