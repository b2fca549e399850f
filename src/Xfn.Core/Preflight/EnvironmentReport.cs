namespace Xfn.Core;

/// <summary>What was found when this machine was asked whether it can run functions.</summary>
public sealed class EnvironmentReport
{
    /// <summary>Each thing that was looked at, the most fundamental first.</summary>
    public required IReadOnlyList<EnvironmentCheck> Checks { get; init; }

    /// <summary>Whether functions can be run: no check failed. There may be warnings.</summary>
    public bool CanRun => Checks.All(c => c.Status != EnvironmentStatus.Failed);
}

/// <summary>One thing that running functions needs or is better for.</summary>
public sealed class EnvironmentCheck
{
    /// <summary>What was looked at, in a few words.</summary>
    public required string Name { get; init; }

    /// <summary>How it is.</summary>
    public required EnvironmentStatus Status { get; init; }

    /// <summary>What was found.</summary>
    public required string Found { get; init; }

    /// <summary>What was wanted.</summary>
    public required string Wanted { get; init; }

    /// <summary>How to get from the one to the other; empty when <see cref="Status"/> is <see cref="EnvironmentStatus.Ok"/>.</summary>
    public string Remedy { get; init; } = "";
}

/// <summary>How a check ended.</summary>
public enum EnvironmentStatus
{
    /// <summary>As wanted.</summary>
    Ok,

    /// <summary>Functions run, but something is slower, weaker or refused: see <see cref="EnvironmentCheck.Found"/>.</summary>
    Warning,

    /// <summary>Functions do not run.</summary>
    Failed,
}
