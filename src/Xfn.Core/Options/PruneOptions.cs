using Xfn.Core.Diagnostics;

namespace Xfn.Core;

/// <summary>What <see cref="ContainerRunner.PruneAsync"/> keeps. With neither limit it removes only what no image
/// refers to.</summary>
public sealed class PruneOptions
{
    /// <summary>Gets or sets how long ago an image may have been used to be kept. At least 0; null, the default, for no
    /// such limit. Uses are noted to the minute.</summary>
    public TimeSpan? MaxAge { get; set; }

    /// <summary>Gets or sets how many bytes the layers of the images that remain may take together. Images are removed,
    /// the least recently used first, until they do. At least 0; null, the default, for no such limit.</summary>
    public long? MaxBytes { get; set; }

    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    internal PruneOptions CheckedCopy()
    {
        OptionCheck.AtLeast(nameof(MaxAge), MaxAge, TimeSpan.Zero);
        OptionCheck.AtLeast(nameof(MaxBytes), MaxBytes, 0);
        return (PruneOptions)MemberwiseClone();
    }
}

/// <summary>A count of what was removed from the cache.</summary>
public sealed class PruneReport
{
    /// <summary>The number of images. Those of which the cache had only a part do not count.</summary>
    public required int ImagesRemoved { get; init; }

    /// <summary>The number of layers: those that no remaining image has.</summary>
    public required int LayersRemoved { get; init; }

    /// <summary>The bytes of the disk that are free again, counted by blocks as <c>du</c> does: of layers, of the data
    /// about images, of old versions of xfn-spark, and of what killed processes left.</summary>
    public required long BytesFreed { get; init; }
}
