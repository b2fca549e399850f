using Xfn.Core.Diagnostics;

namespace Xfn.Core;

/// <summary>How much an image may hold when it is unpacked. An image that goes over a limit is refused with
/// <see cref="InvalidImageException"/>, whose message names the limit; what was written of the layer is
/// removed.</summary>
public sealed class UnpackLimits
{
    // Longer names are refused with the extended header that holds them.
    private const int MostNameBytes = 1 << 20;

    /// <summary>Gets or sets the most bytes of a layer. At least 1; 16 GiB by default.</summary>
    /// <remarks>Three counts must hold, each before the bytes are written: the sizes of its files, in which holes
    /// count; what they take on disk, in blocks of 4 KiB and with extended attributes; and its archive,
    /// decompressed.</remarks>
    public long MaxLayerBytes { get; set; } = 16L << 30;

    /// <summary>Gets or sets the most files, directories and other entries of a layer. Directories that it only implies
    /// count too. At least 1; 2,000,000 by default.</summary>
    public long MaxLayerEntries { get; set; } = 2_000_000;

    /// <summary>Gets or sets the most bytes that the layers of an image take on disk together. Those that the cache has
    /// already count too; holes do not. At least <see cref="MaxLayerBytes"/>; 32 GiB by default.</summary>
    /// <remarks>A layer counts when it is whole. So as many as are unpacked at once, one a processor, may lie on disk
    /// beyond the limit when it is noticed.</remarks>
    public long MaxImageBytes { get; set; } = 32L << 30;

    /// <summary>Gets or sets the most entries of the layers of an image together. At least
    /// <see cref="MaxLayerEntries"/>; 4,000,000 by default.</summary>
    public long MaxImageEntries { get; set; } = 4_000_000;

    /// <summary>Gets or sets how many times larger than what was read of a layer its archive may be, beyond the first
    /// <see cref="CompressionSlackBytes"/>. At least 1; 1,100 by default. Gzip reaches 1,032 at most, so that only
    /// other compressions can go over the default.</summary>
    public int MaxCompressionRatio { get; set; } = 1_100;

    /// <summary>Gets or sets the bytes of a layer's archive to which <see cref="MaxCompressionRatio"/> does not apply.
    /// At least 0; 1 GiB by default. Honest images have large files of zeros.</summary>
    public long CompressionSlackBytes { get; set; } = 1L << 30;

    /// <summary>Gets or sets the most bytes of an entry's name, and of the name that a link leads to. From 1 to
    /// 1,048,576; 32,768 by default.</summary>
    public int MaxNameBytes { get; set; } = 32 << 10;

    /// <summary>Gets or sets how many directories deep an entry may lie. At least 1; 2,048 by default.</summary>
    public int MaxDepth { get; set; } = 2_048;

    /// <summary>A copy, without limits that nothing, or not what they say, could be held to.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A limit is out of its range.</exception>
    internal UnpackLimits CheckedCopy()
    {
        OptionCheck.AtLeast<long>(Name(nameof(MaxLayerBytes)), MaxLayerBytes, 1);
        OptionCheck.AtLeast<long>(Name(nameof(MaxLayerEntries)), MaxLayerEntries, 1);
        OptionCheck.AtLeast<long>(Name(nameof(MaxImageBytes)), MaxImageBytes, MaxLayerBytes);
        OptionCheck.AtLeast<long>(Name(nameof(MaxImageEntries)), MaxImageEntries, MaxLayerEntries);
        OptionCheck.AtLeast<int>(Name(nameof(MaxCompressionRatio)), MaxCompressionRatio, 1);
        OptionCheck.AtLeast<long>(Name(nameof(CompressionSlackBytes)), CompressionSlackBytes, 0);
        OptionCheck.Range(Name(nameof(MaxNameBytes)), MaxNameBytes, 1, MostNameBytes);
        OptionCheck.AtLeast<int>(Name(nameof(MaxDepth)), MaxDepth, 1);

        return (UnpackLimits)MemberwiseClone();

        static string Name(string limit) => $"{nameof(UnpackLimits)}:{limit}";
    }
}
