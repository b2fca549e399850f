namespace Xfn.Core.TestSupport;

/// <summary>Statistics of which every property is set, each to a value of its own.</summary>
internal static class FullStatistics
{
    public static RunStatistics Value { get; } = new()
    {
        ImageDigest = Digest.Compute("image"u8),
        FromCache = true,
        Prepared = true,
        Queued = TimeSpan.FromTicks(1),
        Pull = TimeSpan.FromMilliseconds(12.5),
        Spawn = TimeSpan.FromTicks(1234567),
        Start = TimeSpan.FromDays(24),
        Run = TimeSpan.FromTicks(98765432101),
        Total = TimeSpan.FromSeconds(90),
        CpuTime = TimeSpan.Zero,
        PeakMemoryBytes = 1L << 40,
    };
}
