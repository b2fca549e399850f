using System.Net.Sockets;

namespace Xfn.Core.Egress;

/// <summary>Sockets in a container's network that wait for their connections. A spark makes several for little more than
/// the price of one, so that most connections need not ask it.</summary>
/// <remarks>The first time one is made, and each time twice as many: a container that is connected to once has none to
/// spare.</remarks>
/// <param name="make">Makes so many. Fails when the container has ended.</param>
internal sealed class SocketStock(Func<int, Task<SafeSocketHandle[]>> make) : IDisposable
{
    /// <summary>Each is a descriptor of this process.</summary>
    private const int Most = 8;

    private readonly Lock _lock = new();
    private readonly Queue<SafeSocketHandle> _sockets = [];
    private Task _making = Task.CompletedTask;
    private int _next = 1;
    private bool _isDisposed;

    /// <summary>Takes one.</summary>
    public async Task<SafeSocketHandle> TakeAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task making;
            lock (_lock)
            {
                if (_sockets.TryDequeue(out SafeSocketHandle? socket))
                    return socket;

                // Who comes meanwhile waits for the same.
                making = _making = _making.IsCompleted ? MakeAsync(_next) : _making;
            }

            await making.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Closes those that are left.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            while (_sockets.TryDequeue(out SafeSocketHandle? left))
                left.Dispose();
        }
    }

    private async Task MakeAsync(int count)
    {
        SafeSocketHandle[] made = await make(count).ConfigureAwait(false);
        lock (_lock)
        {
            _next = Math.Min(2 * count, Most);
            foreach (SafeSocketHandle socket in made)
            {
                if (_isDisposed)
                    socket.Dispose();
                else
                    _sockets.Enqueue(socket);
            }
        }
    }
}
