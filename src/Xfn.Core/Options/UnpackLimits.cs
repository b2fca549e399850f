namespace Xfn.Core;

/// <summary>How much an image may hold when it is unpacked. What goes over a limit is refused with <see cref="InvalidImageException"/>, whose message names the limit, and what was written of the layer is removed.</summary>
public sealed record UnpackLimits
{
    /// <summary>Bytes of a layer: 16 GiB by default, at least 1. Three counts must hold, each before the bytes are written: the sizes of its files, in which holes count; what they take on disk, in blocks of
    /// 4 KiB and with extended attributes; and its archive, decompressed.</summary>
    public long MaxLayerBytes { get; init; } = 16L << 30;

    /// <summary>Files, directories and whatever else a layer has, directories that it only implies among them: 2,000,000 by default, at least 1.</summary>
    public long MaxLayerEntries { get; init; } = 2_000_000;

    /// <summary>Bytes that the layers of an image take on disk together, those that the cache has among them; holes do not count. 32 GiB by default, at least <see cref="MaxLayerBytes"/>.</summary>
    /// <remarks>A layer counts when it is whole. So as many as are unpacked at once, one a processor, may lie on disk beyond the limit when it is noticed.</remarks>
    public long MaxImageBytes { get; init; } = 32L << 30;

    /// <summary>Entries of the layers of an image together: 4,000,000 by default, at least <see cref="MaxLayerEntries"/>.</summary>
    public long MaxImageEntries { get; init; } = 4_000_000;

    /// <summary>How many times larger than what was read of a layer its archive may be, beyond the first <see cref="CompressionSlackBytes"/>: 1,100 by default, at least 1. Gzip reaches 1,032 at
    /// most, so that only other compressions can go over the default.</summary>
    public int MaxCompressionRatio { get; init; } = 1_100;

    /// <summary>Bytes of a layer's archive to which <see cref="MaxCompressionRatio"/> does not apply: 1 GiB by default, at least 0. Honest images have large files of zeros.</summary>
    public long CompressionSlackBytes { get; init; } = 1L << 30;

    /// <summary>Bytes of an entry's name, and of what a link names: 32,768 by default, from 1 to 1,048,576.</summary>
    public int MaxNameBytes { get; init; } = 32 << 10;

    /// <summary>How many directories deep an entry may lie: 2,048 by default, at least 1.</summary>
    public int MaxDepth { get; init; } = 2_048;
}
