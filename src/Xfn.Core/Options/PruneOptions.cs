namespace Xfn.Core;

/// <summary>What <see cref="ContainerRunner.PruneAsync"/> removes. With neither limit, only what no image refers to.</summary>
public sealed record PruneOptions
{
    /// <summary>Images that have not been used for longer than this are removed; null, the default, for no such limit. Uses are noted to the minute.</summary>
    public TimeSpan? MaxAge { get; init; }

    /// <summary>Images are removed, the least recently used first, until the layers of those that remain take at most this many bytes; null, the default, for no such limit.</summary>
    public long? MaxBytes { get; init; }
}

/// <summary>What was removed from the cache.</summary>
public sealed record PruneReport
{
    /// <summary>How many images; those of which the cache had a part only do not count.</summary>
    public required int ImagesRemoved { get; init; }

    /// <summary>How many layers: those that no remaining image has.</summary>
    public required int LayersRemoved { get; init; }

    /// <summary>How many bytes of the disk are free again, counted by blocks as <c>du</c> does: of layers, of what is known of images, of old versions' xfn-spark, and of what processes left
    /// that were killed.</summary>
    public required long BytesFreed { get; init; }
}
