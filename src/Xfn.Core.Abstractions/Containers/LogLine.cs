namespace Xfn.Core;

/// <summary>A line of a container's logs.</summary>
public readonly record struct LogLine
{
    /// <summary>When its end was read.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>Where the program wrote it.</summary>
    public required LogSource Source { get; init; }

    /// <summary>The line without its line feed, decoded as UTF-8.</summary>
    public required string Text { get; init; }

    /// <summary>Whether the line goes on in the next one of the same source: it is longer than
    /// <see cref="ContainerRequest.LogLineBytes"/>.</summary>
    public bool IsPartial { get; init; }

    /// <summary>How many lines just before this one its reader missed: they were dropped before it came to them.
    /// </summary>
    public long LostBefore { get; init; }
}

/// <summary>Where a program wrote.</summary>
public enum LogSource
{
    /// <summary>To stdout.</summary>
    Stdout,

    /// <summary>To stderr.</summary>
    Stderr,
}
