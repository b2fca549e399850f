using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Diagnostics;

namespace Xfn.Core;

/// <summary>How many instances a <see cref="FunctionService"/> keeps, and how calls are handed to them.</summary>
public sealed class FunctionServiceOptions
{
    private static readonly TimeSpan Longest = TimeSpan.FromDays(24);

    /// <summary>Gets or sets how many instances are up even when no call comes, from <see cref="FunctionService.StartAsync"/>
    /// or the first call on. From 0 to <see cref="MaxInstances"/>; 0 by default.</summary>
    public int MinInstances { get; set; }

    /// <summary>Gets or sets how many instances there are at most. One is added when a call comes and all have as many as
    /// they take. From 1 to 1,000; 1 by default.</summary>
    public int MaxInstances { get; set; } = 1;

    /// <summary>Gets or sets how many calls an instance takes at once. Further ones wait. From 1 to 1,000,000; 100 by
    /// default. With 1 a function sees one call at a time.</summary>
    public int MaxConcurrency { get; set; } = 100;

    /// <summary>Gets or sets how many calls may wait for an instance. One more is refused with
    /// <see cref="RunnerBusyException"/>. From 0 to 1,000,000; 1,000 by default.</summary>
    public int MaxQueuedCalls { get; set; } = 1000;

    /// <summary>Gets or sets how long an instance stays up without a call, where there are more than
    /// <see cref="MinInstances"/>. More than 0, at most 24 days; 5 minutes by default. Null for ever.</summary>
    public TimeSpan? IdleTime { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>Gets or sets how long calls under way may take to end when the service is disposed. From 0 to 24 days; 10 s
    /// by default.</summary>
    public TimeSpan DrainTime { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Gets or sets how often a call is made, at most, whose instance ended before it had answered. From 1 to 10;
    /// 1, the default, for never again. A higher number is for functions that may be called twice for one answer, as those
    /// without effects may.</summary>
    public int MaxAttempts { get; set; } = 1;

    /// <summary>Gets or sets what the service logs to: instances that ended by themselves, starts that failed. Nothing by
    /// default.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <summary>Gets or sets the clock. The system's by default.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    internal FunctionServiceOptions CheckedCopy()
    {
        OptionCheck.Range(nameof(MaxInstances), MaxInstances, 1, 1000);
        OptionCheck.Range(nameof(MinInstances), MinInstances, 0, MaxInstances);
        OptionCheck.Range(nameof(MaxConcurrency), MaxConcurrency, 1, 1_000_000);
        OptionCheck.Range(nameof(MaxQueuedCalls), MaxQueuedCalls, 0, 1_000_000);
        if (IdleTime is { } idle)
            OptionCheck.Range(nameof(IdleTime), idle, TimeSpan.FromTicks(1), Longest);
        OptionCheck.Range(nameof(DrainTime), DrainTime, TimeSpan.Zero, Longest);
        OptionCheck.Range(nameof(MaxAttempts), MaxAttempts, 1, 10);
        OptionCheck.NotNull(Logger, nameof(Logger));
        OptionCheck.NotNull(TimeProvider, nameof(TimeProvider));
        return (FunctionServiceOptions)MemberwiseClone();
    }
}
