namespace Xfn.Core.Runs;

/// <summary>The places of the runs that may go on at once, and the queue for them, in order of arrival.</summary>
/// <param name="count">How many may go on.</param>
/// <param name="maxWaiting">How many may wait.</param>
internal sealed class RunQueue(int count, int maxWaiting) : IAsyncDisposable
{
    private readonly SemaphoreSlim _free = new(count);
    private int _waiting;

    /// <exception cref="RunnerBusyException">Too many wait already, or this run may not.</exception>
    public async ValueTask EnterAsync(bool mayWait, CancellationToken cancellationToken)
    {
        if (_free.Wait(0, cancellationToken))
            return;
        if (!mayWait)
            throw new RunnerBusyException($"cannot take another run: {count} go on, and this one may not wait (MayWait). Try again later, or raise the limit (option MaxConcurrency).");
        XfnTelemetry.CountQueued(1);
        try
        {
            if (Interlocked.Increment(ref _waiting) > maxWaiting)
            {
                throw new RunnerBusyException(
                    $"cannot take another run: {count} go on and {maxWaiting} wait already. Try again later, or raise the limits (option MaxConcurrency, option MaxQueuedRuns).");
            }

            await _free.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
            XfnTelemetry.CountQueued(-1);
        }
    }

    public void Leave() => _free.Release();

    /// <summary>Ends when what holds a place is over; no place is given after it.</summary>
    public async ValueTask DisposeAsync()
    {
        for (int i = 0; i < count; i++)
            await _free.WaitAsync().ConfigureAwait(false);
        _free.Dispose();
    }
}
