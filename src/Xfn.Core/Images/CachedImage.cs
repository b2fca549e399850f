namespace Xfn.Core;

/// <summary>An image of the cache.</summary>
public sealed class CachedImage
{
    /// <summary>What it is called, in full; empty when this runner's fetcher knows no name that leads to it: see <see cref="IImageFetcher.SourceOf"/>.</summary>
    public required string Reference { get; init; }

    /// <summary>The digest of its manifest.</summary>
    public required Digest Digest { get; init; }

    /// <summary>How many bytes its files take; those of layers that it shares with other images are counted with each.</summary>
    public required long Bytes { get; init; }

    /// <summary>When it was last run or pulled, to the minute.</summary>
    public required DateTimeOffset LastUsed { get; init; }
}
