namespace Xfn.Core;

/// <summary>What a function answered, and what its run took.</summary>
public sealed record RunFunctionResponse
{
    /// <summary>All that the function wrote to stdout.</summary>
    public ReadOnlyMemory<byte> Output { get; init; }

    /// <summary>The last that the function wrote to stderr: at most <see cref="RunStatistics.StderrTailBytes"/> bytes, decoded as UTF-8.</summary>
    public string StderrTail { get; init; } = "";

    /// <summary>What the run took, and from where.</summary>
    public RunStatistics Statistics { get; init; } = new();
}

/// <summary>What a run took.</summary>
public sealed record RunStatistics
{
    /// <summary>How much of stderr is kept: 64 KiB.</summary>
    public const int StderrTailBytes = 64 << 10;

    /// <summary>The digest of the manifest that was run; default when the run did not come so far.</summary>
    public Digest ImageDigest { get; init; }

    /// <summary>Whether the cache held the whole image, so that no layer was fetched.</summary>
    public bool FromCache { get; init; }

    /// <summary>Whether the function's container had been prepared, so that nothing but its execution was left to do.</summary>
    public bool Prepared { get; init; }

    /// <summary>Waiting for a free place among the concurrent runs.</summary>
    public TimeSpan Queued { get; init; }

    /// <summary>From the reference to the image in the cache: manifest, layers, unpacking.</summary>
    public TimeSpan Pull { get; init; }

    /// <summary>The runtime specification and a namespace to run it in.</summary>
    public TimeSpan Spawn { get; init; }

    /// <summary>Mounting the root file system and starting the container.</summary>
    public TimeSpan Start { get; init; }

    /// <summary>The function itself, from its start to its exit and the last byte of its output.</summary>
    public TimeSpan Run { get; init; }

    /// <summary>All of it.</summary>
    public TimeSpan Total { get; init; }

    /// <summary>Processor time that the function used; null when unknown.</summary>
    public TimeSpan? CpuTime { get; init; }

    /// <summary>The most memory the function had at once, in bytes; null when unknown.</summary>
    public long? PeakMemoryBytes { get; init; }
}
