namespace Xfn.Core;

/// <summary>How far the pull of a layer has come.</summary>
/// <param name="layer">The layer's digest in the manifest.</param>
/// <param name="phase">What is being done with it.</param>
/// <param name="bytes">How many bytes have been fetched.</param>
/// <param name="totalBytes">How many bytes there are to fetch.</param>
public sealed class PullProgress(Digest layer, PullPhase phase, long bytes, long totalBytes)
{
    /// <summary>The layer's digest in the manifest.</summary>
    public Digest Layer => layer;

    /// <summary>What is being done with it.</summary>
    public PullPhase Phase => phase;

    /// <summary>How many bytes have been fetched. They are unpacked as they come.</summary>
    public long Bytes => bytes;

    /// <summary>How many bytes there are to fetch.</summary>
    public long TotalBytes => totalBytes;
}

/// <summary>What is being done with a layer.</summary>
public enum PullPhase
{
    /// <summary>Another run or process is pulling it; the bytes are those that it has fetched, or 0 while that is not
    /// known.</summary>
    Waiting,

    /// <summary>It is fetched and unpacked.</summary>
    Downloading,

    /// <summary>It is in the cache.</summary>
    Done,
}
