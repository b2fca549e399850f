namespace Xfn.Core;

/// <summary>How a function is prepared.</summary>
public sealed record PrepareOptions
{
    /// <summary>The most containers that one <see cref="PreparedFunction"/> keeps: 1,000.</summary>
    public const int MaxCount = 1000;

    /// <summary>The longest that containers may wait: 24 days.</summary>
    public static readonly TimeSpan MaxIdleTime = TimeSpan.FromDays(24);

    /// <summary>How many containers wait for runs: as many as are likely to begin within the ten or so milliseconds that it takes to make another. From 1 to <see cref="MaxCount"/>, by default 1.
    /// Containers, running ones included, have a keyring each, of which the kernel grants an id 200 unless <c>kernel.keys.maxkeys</c> says otherwise.</summary>
    public int Count { get; init; } = 1;

    /// <summary>How long containers wait when no run comes. Then they end; the next run is an ordinary one, and others are made behind it. At most <see cref="MaxIdleTime"/>, by default five minutes.</summary>
    public TimeSpan IdleTime { get; init; } = TimeSpan.FromMinutes(5);
}
