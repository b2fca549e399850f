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
    /// <summary>How many images.</summary>
    public required int ImagesRemoved { get; init; }

    /// <summary>How many layers: those that no remaining image has.</summary>
    public required int LayersRemoved { get; init; }

    /// <summary>How many bytes of files were removed, those of old versions' xfn-spark included.</summary>
    public required long BytesFreed { get; init; }
}
