namespace Xfn.Core;

/// <summary>Whether this machine can run functions, with the reasons.</summary>
public sealed class EnvironmentReport
{
    /// <summary>The checks that were made, the most fundamental first.</summary>
    public required IReadOnlyList<EnvironmentCheck> Checks { get; init; }

    /// <summary>Whether functions can be run: no check failed. There may be warnings.</summary>
    public bool CanRun => Checks.All(c => c.Status != EnvironmentStatus.Failed);
}

/// <summary>A check of one thing that runs need, or are better for.</summary>
public sealed class EnvironmentCheck
{
    /// <summary>The name of the thing that was checked.</summary>
    public required string Name { get; init; }

    /// <summary>How the check ended.</summary>
    public required EnvironmentStatus Status { get; init; }

    /// <summary>What the check found.</summary>
    public required string Found { get; init; }

    /// <summary>What runs need.</summary>
    public required string Wanted { get; init; }

    /// <summary>What to do. Empty when <see cref="Status"/> is <see cref="EnvironmentStatus.Ok"/>.</summary>
    public string Remedy { get; init; } = "";
}

/// <summary>The outcome of a check.</summary>
public enum EnvironmentStatus
{
    /// <summary>As wanted.</summary>
    Ok,

    /// <summary>Functions run. <see cref="EnvironmentCheck.Found"/> says what is slower, weaker or refused.</summary>
    Warning,

    /// <summary>Functions do not run.</summary>
    Failed,
}
