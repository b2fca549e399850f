namespace Xfn.Core;

/// <summary>The answer of a function, and measurements of its run.</summary>
public sealed record RunFunctionResponse
{
    /// <summary>All that the function wrote to stdout. Empty in a streaming run.</summary>
    public ReadOnlyMemory<byte> Output { get; init; }

    /// <summary>The last that the function wrote to stderr: at most 64 KiB, decoded as UTF-8.</summary>
    public string StderrTail { get; init; } = "";

    /// <summary>Measurements of the run.</summary>
    public RunStatistics Statistics { get; init; } = new();
}

/// <summary>Measurements of a run. Times are zero for stages that it did not come to.</summary>
public sealed record RunStatistics
{
    /// <summary>How much of stderr is kept.</summary>
    internal const int StderrTailBytes = 64 << 10;

    /// <summary>The digest of the manifest that was run. Default when the run did not come so far.</summary>
    public Digest ImageDigest { get; init; }

    /// <summary>Whether the cache held the whole image, so that no layer was fetched.</summary>
    public bool FromCache { get; init; }

    /// <summary>Whether the function's container had been prepared (<c>ContainerRunner.PrepareAsync</c>).</summary>
    public bool Prepared { get; init; }

    /// <summary>The time that the run waited for a place among the concurrent runs.</summary>
    public TimeSpan Queued { get; init; }

    /// <summary>The time from the reference to the image in the cache: manifest, layers, unpacking.</summary>
    public TimeSpan Pull { get; init; }

    /// <summary>The time for the container's description and its namespace.</summary>
    public TimeSpan Spawn { get; init; }

    /// <summary>The time for mounting the root file system and starting the container.</summary>
    public TimeSpan Start { get; init; }

    /// <summary>The time of the function itself, from its start to its exit and the last byte of its output.</summary>
    public TimeSpan Run { get; init; }

    /// <summary>The time of the whole run.</summary>
    public TimeSpan Total { get; init; }

    /// <summary>The processor time that the function used. Null when unknown.</summary>
    public TimeSpan? CpuTime { get; init; }

    /// <summary>The most memory that the function had at once, in bytes. Null when unknown.</summary>
    public long? PeakMemoryBytes { get; init; }
}
