namespace Xfn.Core;

/// <summary>How far the pull of a layer is.</summary>
/// <param name="Layer">The layer's digest in the manifest.</param>
/// <param name="Phase">What is being done with it.</param>
/// <param name="Bytes">How many bytes have been fetched; they are unpacked as they come.</param>
/// <param name="TotalBytes">How many there are to fetch.</param>
public sealed record PullProgress(Digest Layer, PullPhase Phase, long Bytes, long TotalBytes);

/// <summary>What is being done with a layer.</summary>
public enum PullPhase
{
    /// <summary>Another run or process is pulling it; the bytes are those that it has fetched, or 0 while that is not known.</summary>
    Waiting,

    /// <summary>It is fetched and unpacked.</summary>
    Downloading,

    /// <summary>It is in the cache.</summary>
    Done,
}
