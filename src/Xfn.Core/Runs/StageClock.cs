namespace Xfn.Core.Runs;

/// <summary>Where the time of a run goes.</summary>
internal sealed class StageClock(TimeProvider time)
{
    public TimeSpan Queued;
    public TimeSpan Pull;
    public TimeSpan Spawn;
    public TimeSpan Start;
    public TimeSpan Run;

    private readonly long _begun = time.GetTimestamp();
    private long _last = time.GetTimestamp();

    /// <summary>From the beginning until now.</summary>
    public TimeSpan Elapsed => time.GetElapsedTime(_begun);

    /// <summary>A stage ends now.</summary>
    public void Next(ref TimeSpan stage) => Until(time.GetTimestamp(), ref stage);

    /// <summary>A stage ended at a moment.</summary>
    public void Until(long timestamp, ref TimeSpan stage)
    {
        if (timestamp == 0)
            return;
        stage = time.GetElapsedTime(_last, timestamp);
        _last = timestamp;
    }

    public RunStatistics ToStatistics() => AddTo(new RunStatistics());

    public RunStatistics AddTo(RunStatistics statistics) => statistics with
    {
        Queued = Queued,
        Pull = Pull,
        Spawn = Spawn,
        Start = Start,
        Run = Run,
        Total = time.GetElapsedTime(_begun, _last),
    };
}
