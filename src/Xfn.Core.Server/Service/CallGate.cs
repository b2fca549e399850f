namespace Xfn.Core.Server;

/// <summary>Counts calls in progress, lets none in once the server stops, and knows when the last has ended.</summary>
internal sealed class CallGate : IDisposable
{
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _killed = new();
    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _calls;
    private bool _closed;

    /// <summary>Cancelled when calls in progress have to end.</summary>
    public CancellationToken Killed => _killed.Token;

    public int Calls => Volatile.Read(ref _calls);

    /// <summary>Lets a call in.</summary>
    /// <returns>Whether it may go on; it must <see cref="Leave"/> then. Not when the server stops.</returns>
    public bool TryEnter()
    {
        lock (_lock)
        {
            if (_closed)
                return false;
            _calls++;
            return true;
        }
    }

    public void Leave()
    {
        lock (_lock)
        {
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

    public Task KillAsync() => _killed.CancelAsync();

    public void Dispose() => _killed.Dispose();
}
