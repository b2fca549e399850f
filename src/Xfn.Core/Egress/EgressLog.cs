using Microsoft.Extensions.Logging;

namespace Xfn.Core.Egress;

/// <summary>What is logged of containers' egress.</summary>
internal static partial class EgressLog
{
    [LoggerMessage(EventId = 400, Level = LogLevel.Warning, Message = "Container '{Container}': {Why} {Detail}")]
    public static partial void Refused(ILogger logger, string container, string why, string detail);

    [LoggerMessage(EventId = 401, Level = LogLevel.Warning, Message = "Container '{Container}': {Count} more requests to the proxy were not met, and not logged.")]
    public static partial void MoreRefused(ILogger logger, string container, int count);

    [LoggerMessage(EventId = 402, Level = LogLevel.Error, Message = "Container '{Container}': a connection to the proxy failed.")]
    public static partial void Failed(ILogger logger, string container, Exception exception);
}

/// <summary>Logs what was refused to one container: a hostile one must not fill the log.</summary>
internal sealed class EgressRefusals(string container, ILogger logger, TimeProvider time)
{
    /// <summary>How many lines a span of time may have.</summary>
    public const int MaxLines = 20;

    public static readonly TimeSpan Span = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private long _since;
    private int _count;

    public void Add(EgressRefusal refusal)
    {
        int more = 0;
        bool isLogged;
        lock (_lock)
        {
            if (_since == 0 || time.GetElapsedTime(_since) >= Span)
            {
                more = Math.Max(0, _count - MaxLines);
                (_since, _count) = (time.GetTimestamp(), 0);
            }

            isLogged = ++_count <= MaxLines;
        }

        if (more > 0)
            EgressLog.MoreRefused(logger, container, more);
        if (isLogged)
            EgressLog.Refused(logger, container, refusal.Why, refusal.Detail);
    }

    /// <summary>Tells how many were not logged.</summary>
    public void End()
    {
        int more;
        lock (_lock)
            (more, _count) = (Math.Max(0, _count - MaxLines), 0);
        if (more > 0)
            EgressLog.MoreRefused(logger, container, more);
    }
}
