namespace Xfn.Core.Server;

/// <summary>Counts the calls in progress, lets none in once the server stops, and knows when the last has ended.</summary>
internal sealed class RunGate : IDisposable
{
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _killed = new();
    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _calls;
    private long _pendingBytes;
    private bool _closed;

    /// <summary>Cancelled when calls in progress have to end.</summary>
    public CancellationToken Killed => _killed.Token;

    /// <summary>How many calls are in progress.</summary>
    public int Calls => Volatile.Read(ref _calls);

    /// <summary>Lets a call in.</summary>
    /// <param name="bytes">The size of its input.</param>
    /// <param name="mostBytes">What all inputs may have together.</param>
    /// <returns>Whether it may go on; it must <see cref="Leave"/> then.</returns>
    public Entry Enter(long bytes, long mostBytes)
    {
        lock (_lock)
        {
            if (_closed)
                return Entry.Stopping;

            // A call that is alone always fits.
            if (_pendingBytes > 0 && _pendingBytes + bytes > mostBytes)
                return Entry.TooMuchInput;
            _calls++;
            _pendingBytes += bytes;
            return Entry.Allowed;
        }
    }

    public void Leave(long bytes)
    {
        lock (_lock)
        {
            _pendingBytes -= bytes;
            if (--_calls == 0 && _closed)
                _empty.TrySetResult();
        }
    }

    /// <summary>Lets no more calls in.</summary>
    /// <returns>Ends when the last call has.</returns>
    public Task CloseAsync()
    {
        lock (_lock)
        {
            _closed = true;
            if (_calls == 0)
                _empty.TrySetResult();
        }

        return _empty.Task;
    }

    /// <summary>Ends the calls in progress.</summary>
    public Task KillAsync() => _killed.CancelAsync();

    public void Dispose() => _killed.Dispose();
}

/// <summary>Whether a call was let in.</summary>
internal enum Entry
{
    Allowed,
    Stopping,
    TooMuchInput,
}
