namespace Xfn.Core.Remote;

/// <summary>How often one run is offered, and how long is waited in between; its turn says to which servers.</summary>
internal sealed class Offers(RemoteContainerRunnerOptions options, bool isFleet, ImageTurn turn)
{
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(1);

    // For each of the attempts that are allowed: 1.5 seconds for the five of the default.
    private static readonly TimeSpan FleetPatience = TimeSpan.FromMilliseconds(300);

    private TimeSpan _delay = FirstDelay;
    private int _made;
    private long _begun;
    private long? _unreachedSince;

    public ImageTurn Turn => turn;

    public void Begin() => _begun = options.TimeProvider.GetTimestamp();

    /// <summary>An offer came to nothing.</summary>
    /// <returns>How long to wait for the next; null when there is to be none.</returns>
    public TimeSpan? Next(XfnException error, RetryScope scope)
    {
        // It was asked for a place, and has none or stops.
        bool wasAsked = error.Stage == RunStage.Queue && !turn.MayWait;
        turn.Next();
        if (wasAsked)
            return TimeSpan.Zero;
        if (scope == RetryScope.Anywhere && isFleet && options.MaxAttempts > 1)
            return NextServer();
        _unreachedSince = null;
        if (++_made >= options.MaxAttempts)
            return null;
        TimeSpan delay = _delay;
        _delay = delay * 2 < LongestDelay ? delay * 2 : LongestDelay;
        return delay;
    }

    /// <summary>gRPC takes seconds to see that a server has gone; until then an offer may meet it, and the next one
    /// another. So offers come fast and use up no attempts, until none has found a server for a while.</summary>
    private TimeSpan? NextServer()
    {
        _unreachedSince ??= _begun;
        return options.TimeProvider.GetElapsedTime(_unreachedSince.Value) + FirstDelay < FleetPatience * options.MaxAttempts ? FirstDelay : null;
    }
}
