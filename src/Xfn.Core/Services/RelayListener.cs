using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>A socket that listens, and joins each of its connections to one of a container.</summary>
internal sealed class RelayListener : IAsyncDisposable
{
    /// <summary>How long nothing is accepted when this process has no descriptors left.</summary>
    private static readonly TimeSpan Respite = TimeSpan.FromMilliseconds(100);

    /// <summary>How long clients may take for the last words of a program that has ended by itself.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    /// <summary>How many connections go on at once; further ones wait. Each has two descriptors of this
    /// process.</summary>
    private const int MostConnections = 1024;

    private readonly SemaphoreSlim _places = new(MostConnections);
    private readonly Socket _listener;
    private readonly Func<CancellationToken, Task<Socket>> _connect;
    private readonly string _name;
    private readonly ILogger _logger;
    private readonly Func<bool> _hasEnded;
    private readonly CancellationTokenSource _closed = new();
    private readonly CancellationTokenSource _over = new();
    private readonly BackgroundTasks _connections = new();
    private readonly Task _accepting;
    private int _disposed;

    /// <param name="listener">The socket, which is this one's to close.</param>
    /// <param name="connect">Connects to where it leads.</param>
    /// <param name="hasEnded">Whether the container has ended whose this is: it says no more than it has said.</param>
    /// <param name="name">What it is called in the log.</param>
    /// <param name="logger">Is told of connections that lead nowhere.</param>
    public RelayListener(Socket listener, Func<CancellationToken, Task<Socket>> connect, Func<bool> hasEnded, string name, ILogger logger)
    {
        (_listener, _connect, _hasEnded, _name, _logger) = (listener, connect, hasEnded, name, logger);
        _accepting = AcceptAsync();
    }

    /// <summary>Ends when it and all of its connections are closed.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _closed.CancelAsync().ConfigureAwait(false);
        await _accepting.ConfigureAwait(false);
        Task connections = _connections.WaitAsync();
        if (_hasEnded())
            await connections.WaitAsync(LastWords).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _over.CancelAsync().ConfigureAwait(false);
        await connections.ConfigureAwait(false);
        _places.Dispose();
        _closed.Dispose();
        _over.Dispose();
    }

    private async Task AcceptAsync()
    {
        using (_listener)
        {
            while (!_closed.IsCancellationRequested)
            {
                try
                {
                    await _places.WaitAsync(_closed.Token).ConfigureAwait(false);
                    Socket client = await AcceptOneAsync().ConfigureAwait(false);
                    _ = _connections.Add(Task.Run(() => RelayAsync(client)));
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (SocketException ex)
                {
                    // The client has gone already; or there are no descriptors, which may pass.
                    RunnerLog.ConnectionDropped(_logger, _name, ex.Message);
                    await Task.Delay(Respite, _closed.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
        }
    }

    private async Task<Socket> AcceptOneAsync()
    {
        try
        {
            return await _listener.AcceptAsync(_closed.Token).ConfigureAwait(false);
        }
        catch
        {
            _places.Release();
            throw;
        }
    }

    private async Task RelayAsync(Socket client)
    {
        using (client)
        {
            try
            {
                client.NoDelay = true;
                using Socket target = await _connect(_over.Token).ConfigureAwait(false);
                await RelayLoop.RelayAsync(client, target, _over.Token).ConfigureAwait(false);
            }
            catch (Exception ex) when (ex is SocketException or IOException or XfnException or OperationCanceledException or Spark.SparkGoneException)
            {
                // A client is told as by a server that is not there.
                SocketRelay.Reset(client);
                RunnerLog.ConnectionDropped(_logger, _name, ex.Message);
            }
            finally
            {
                _places.Release();
            }
        }
    }
}
