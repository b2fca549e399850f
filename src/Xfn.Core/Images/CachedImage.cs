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
