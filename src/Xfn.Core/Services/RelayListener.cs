using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Xfn.Core.Diagnostics;
using Xfn.Core.Egress;

namespace Xfn.Core.Services;

/// <summary>A socket that listens, and joins each of its connections to one of a container.</summary>
internal sealed class RelayListener : IAsyncDisposable
{
    /// <summary>How long clients may take for the last words of a program that has ended by itself.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    /// <summary>How many connections go on at once; further ones wait. Each has two descriptors of this
    /// process.</summary>
    private const int MostConnections = 1024;

    private readonly Acceptor _acceptor;
    private readonly Func<CancellationToken, Task<Socket>> _connect;
    private readonly Func<bool> _hasEnded;
    private readonly CancellationTokenSource _closed = new();
    private readonly CancellationTokenSource _over = new();
    private readonly Task _accepting;
    private int _disposed;

    /// <param name="listener">The socket, which is this one's to close.</param>
    /// <param name="connect">Connects to where it leads.</param>
    /// <param name="hasEnded">Whether the container has ended whose this is: it says no more than it has said.</param>
    /// <param name="name">What it is called in the log.</param>
    /// <param name="logger">Is told of connections that lead nowhere.</param>
    public RelayListener(Socket listener, Func<CancellationToken, Task<Socket>> connect, Func<bool> hasEnded, string name, ILogger logger)
    {
        (_connect, _hasEnded) = (connect, hasEnded);
        _acceptor = new Acceptor(MostConnections, TimeProvider.System)
        {
            WhenRefused = ex => RunnerLog.ConnectionDropped(logger, name, ex.Message),
            WhenFailed = ex => RunnerLog.ConnectionDropped(logger, name, ex.Message),
        };
        _accepting = _acceptor.AcceptAsync(listener, RelayAsync, _closed.Token);
    }

    /// <summary>Ends when it and all of its connections are closed.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _closed.CancelAsync().ConfigureAwait(false);
        await _accepting.ConfigureAwait(false);
        Task connections = _acceptor.WaitAsync();
        if (_hasEnded())
            await connections.WaitAsync(LastWords).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _over.CancelAsync().ConfigureAwait(false);
        await connections.ConfigureAwait(false);
        _acceptor.Dispose();
        _closed.Dispose();
        _over.Dispose();
    }

    private async Task RelayAsync(Socket client)
    {
        using Socket target = await _connect(_over.Token).ConfigureAwait(false);
        await RelayLoop.RelayAsync(client, target, _over.Token).ConfigureAwait(false);
    }
}
