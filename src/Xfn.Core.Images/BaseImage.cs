using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>An image that another one is made on. Its layers are not looked into.</summary>
internal sealed class BaseImage
{
    private BaseImage(ImageReference reference, IImageFetcher fetcher, ImageManifest manifest, byte[] config, Platform platform) =>
        (Reference, Fetcher, Layers, Config, Platform) = (reference, fetcher, manifest.Layers, config, platform);

    public ImageReference Reference { get; }

    public IImageFetcher Fetcher { get; }

    public IReadOnlyList<Descriptor> Layers { get; }

    /// <summary>The configuration, byte for byte.</summary>
    public byte[] Config { get; }

    public Platform Platform { get; }

    public static async Task<BaseImage> FetchAsync(ImageReference reference, Platform platform, IImageFetcher fetcher, CancellationToken cancellationToken)
    {
        var resolver = new ImageResolver(fetcher, platform);
        var context = new FetchContext();
        (_, ReadOnlyMemory<byte> document) = await resolver.ResolveAsync(reference, context, null, cancellationToken).ConfigureAwait(false);
        OciDocuments.CheckIsImage(reference, document);
        ImageManifest manifest = OciDocuments.ParseManifest(reference, document.Span);
        byte[] content = await resolver.ReadConfigAsync(reference, manifest.Config, context, cancellationToken).ConfigureAwait(false);
        ImageConfig config = OciDocuments.ParseConfig(reference, content);
        OciDocuments.Check(reference, manifest, config);
        if (!manifest.Config.Digest.Matches(content))
            throw new InvalidImageException(RunStage.Pull, $"cannot use the configuration of image '{reference}': its digest is {Digest.Compute(content)}, expected {manifest.Config.Digest}. Its source is damaged.");
        Platform found = PlatformSelector.Of(config);
        if (!PlatformSelector.Suits(config, platform))
            throw Fault.Of($"cannot make an image for {platform} on base '{reference}': the base is for {found}. Name another base, or another platform.");
        return new BaseImage(reference, fetcher, manifest, content, found.Architecture.Length > 0 ? found : platform);
    }

    /// <summary>Opens a layer at a byte.</summary>
    public async Task<Stream> OpenAsync(Descriptor layer, long offset, CancellationToken cancellationToken)
    {
        if (offset > 0)
        {
            try
            {
                return await Fetcher.OpenBlobAsync(Reference, layer, offset, new FetchContext(), cancellationToken).ConfigureAwait(false);
            }
            catch (NotSupportedException)
            {
                // This fetcher begins at the beginning only.
            }
        }

        Stream stream = await Fetcher.OpenBlobAsync(Reference, layer, 0, new FetchContext(), cancellationToken).ConfigureAwait(false);
        byte[] passed = new byte[16 << 10];
        for (long left = offset; left > 0;)
        {
            int count = await stream.ReadAsync(passed.AsMemory(0, (int)Math.Min(left, passed.Length)), cancellationToken).ConfigureAwait(false);
            left = count > 0 ? left - count : throw new EndOfStreamException($"layer {layer.Digest} of base '{Reference}' ended too soon");
        }

        return stream;
    }
}
