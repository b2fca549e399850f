namespace Xfn.Core.Composition.Pipelines;

/// <summary>How long an answer may be used again.</summary>
internal static class AnswerTime
{
    private static readonly TimeSpan Longest = TimeSpan.FromDays(1);

    /// <summary>Gives the time that a function says, a day at most. Null for none.</summary>
    public static TimeSpan? Of(Protocol.RunFunctionResponse response) => response.Meta?.Ttl switch
    {
        { Seconds: var seconds } when seconds >= Longest.TotalSeconds => Longest,
        { Seconds: >= 0, Nanos: >= 0 and < 1_000_000_000 } ttl when ttl.ToTimeSpan() > TimeSpan.Zero => ttl.ToTimeSpan(),
        _ => null,
    };
}
