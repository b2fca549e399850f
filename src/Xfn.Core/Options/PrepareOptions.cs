using Xfn.Core.Diagnostics;

namespace Xfn.Core;

/// <summary>How a function is prepared.</summary>
public sealed class PrepareOptions
{
    /// <summary>The most containers that one <see cref="PreparedFunction"/> keeps: 1,000.</summary>
    public const int MaxCount = 1000;

    internal static readonly TimeSpan MaxIdleTime = TimeSpan.FromDays(24);

    /// <summary>Gets or sets how many containers wait for runs: as many as are likely to begin within the ten or so
    /// milliseconds that it takes to make another. From 1 to <see cref="MaxCount"/>; 1 by default.</summary>
    /// <remarks>Where the system call filter is not the default one, containers, running ones included, have a keyring
    /// each. The kernel grants an id 200 of them, unless <c>kernel.keys.maxkeys</c> says otherwise.</remarks>
    public int Count { get; set; } = 1;

    /// <summary>Gets or sets how long containers wait when no run comes. Then they end, the next run is an ordinary
    /// one, and others are made behind it. More than 0, at most 24 days; 5 minutes by default.</summary>
    public TimeSpan IdleTime { get; set; } = TimeSpan.FromMinutes(5);

    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    internal PrepareOptions CheckedCopy()
    {
        OptionCheck.Range(nameof(Count), Count, 1, MaxCount);
        OptionCheck.Range(nameof(IdleTime), IdleTime, TimeSpan.FromTicks(1), MaxIdleTime);
        return (PrepareOptions)MemberwiseClone();
    }
}
