using Xfn.Core.Diagnostics;

namespace Xfn.Core;

/// <summary>What <see cref="ContainerRunner.PruneAsync"/> removes. With neither limit, only what no image refers to.</summary>
public sealed class PruneOptions
{
    /// <summary>Gets or sets how long ago an image may have been used to be kept. At least 0; null, the default, for no such
    /// limit. Uses are noted to the minute.</summary>
    public TimeSpan? MaxAge { get; set; }

    /// <summary>Gets or sets how many bytes the layers of the images that remain may take together. Images are removed, the
    /// least recently used first, until they do. At least 0; null, the default, for no such limit.</summary>
    public long? MaxBytes { get; set; }

    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    internal PruneOptions CheckedCopy()
    {
        OptionCheck.AtLeast(nameof(MaxAge), MaxAge, TimeSpan.Zero);
        OptionCheck.AtLeast(nameof(MaxBytes), MaxBytes, 0);
        return (PruneOptions)MemberwiseClone();
    }
}

/// <summary>What was removed from the cache.</summary>
public sealed class PruneReport
{
    /// <summary>How many images; those of which the cache had a part only do not count.</summary>
    public required int ImagesRemoved { get; init; }

    /// <summary>How many layers: those that no remaining image has.</summary>
    public required int LayersRemoved { get; init; }

    /// <summary>How many bytes of the disk are free again, counted by blocks as <c>du</c> does: of layers, of what is known of images, of old versions' xfn-spark, and of what processes left
    /// that were killed.</summary>
    public required long BytesFreed { get; init; }
}
