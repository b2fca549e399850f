namespace Xfn.Core;

/// <summary>An image of the cache.</summary>
public sealed class CachedImage
{
    /// <summary>The image's whole reference. Empty when this runner's fetcher knows no name that leads to it
    /// (<see cref="IImageFetcher.SourceOf"/>).</summary>
    public required string Reference { get; init; }

    /// <summary>The digest of its manifest.</summary>
    public required Digest Digest { get; init; }

    /// <summary>The bytes that its files take. A layer that several images share counts with each.</summary>
    public required long Bytes { get; init; }

    /// <summary>The time of its last run or pull, to the minute.</summary>
    public required DateTimeOffset LastUsed { get; init; }
}

/// <summary>What describes an image, as its builder wrote it.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md">image-spec,
/// manifest</see> and
/// <see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md">configuration</see>; docker's own
/// forms are much the same.</remarks>
public sealed class ImageDocuments
{
    /// <summary>The manifest, in JSON: the layers, their digests and sizes as they are in the registry.</summary>
    public required ReadOnlyMemory<byte> Manifest { get; init; }

    /// <summary>The configuration, in JSON: the platform, the program, its variables, its user.</summary>
    public required ReadOnlyMemory<byte> Config { get; init; }
}
