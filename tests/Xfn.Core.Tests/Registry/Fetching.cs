namespace Xfn.Core.Tests.Registry;

/// <summary>What the runner does with a fetcher, in short.</summary>
internal static class Fetching
{
    public static readonly FetchContext Nothing = new();

    public static async Task<FetchedManifest> ManifestAsync(this IImageFetcher fetcher, string image, FetchContext? context = null, CancellationToken token = default) =>
        await fetcher.FetchManifestAsync(ImageReference.Parse(image), context ?? Nothing, token);

    public static async Task<byte[]> BlobAsync(
        this IImageFetcher fetcher, string image, Descriptor blob, long offset = 0, FetchContext? context = null, CancellationToken token = default)
    {
        await using Stream stream = await fetcher.OpenBlobAsync(ImageReference.Parse(image), blob, offset, context ?? Nothing, token);
        using var content = new MemoryStream();
        await stream.CopyToAsync(content, token);
        return content.ToArray();
    }

    /// <summary>Fetches all that makes an image and compares each with its digest.</summary>
    public static async Task<ImageManifest> WholeImageAsync(this IImageFetcher fetcher, string image, FetchContext? context = null, CancellationToken token = default)
    {
        FetchedManifest fetched = await fetcher.ManifestAsync(image, context, token);
        Assert.That(fetched.Digest, Is.EqualTo(Digest.Compute(fetched.Content.Span)));
        ImageManifest manifest = OciJson.ParseManifest(fetched.Content.Span);
        foreach (Descriptor blob in manifest.Layers.Prepend(manifest.Config))
        {
            byte[] content = await fetcher.BlobAsync(image, blob, 0, context, token);
            Assert.That(blob.Digest.Matches(content), Is.True, $"{blob.Digest} differs");
            Assert.That(content, Has.Length.EqualTo(blob.Size));
        }

        return manifest;
    }
}
