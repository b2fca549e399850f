using System.Net.Sockets;
using Xfn.Core.Interop;

namespace Xfn.Core.Egress;

/// <summary>Accepts the connections of sockets that listen, and serves each by itself.</summary>
/// <param name="most">How many are served at once, of all sockets together. Each socket may have one more that has been
/// accepted and waits; further ones wait in the kernel.</param>
/// <param name="time">Times the pause after a failure.</param>
internal sealed class Acceptor(int most, TimeProvider time) : IDisposable
{
    /// <summary>How long nothing is accepted when this process has no descriptors left.</summary>
    private static readonly TimeSpan Respite = TimeSpan.FromMilliseconds(100);

    private readonly SemaphoreSlim _places = new(most);
    private readonly BackgroundTasks _connections = new();

    /// <summary>Told when a connection has to wait.</summary>
    public Action WhenFull { get; init; } = () => { };

    /// <summary>Told when none could be accepted, with the system's reason.</summary>
    public required Action<SocketException> WhenRefused { get; init; }

    /// <summary>Told when one failed, which is reset then: its client must not take what it has for all.</summary>
    public required Action<Exception> WhenFailed { get; init; }

    /// <summary>Serves a socket until the token is cancelled or the socket is closed.</summary>
    /// <param name="listener">The socket, which is closed at the end.</param>
    /// <param name="serve">Serves a connection, which is closed afterwards.</param>
    /// <param name="closed">Ends the accepting, and nothing else.</param>
    public async Task AcceptAsync(Socket listener, Func<Socket, Task> serve, CancellationToken closed)
    {
        using (listener)
        {
            while (!closed.IsCancellationRequested)
            {
                try
                {
                    Socket client = await listener.AcceptAsync(closed).ConfigureAwait(false);
                    await TakePlaceAsync(client, closed).ConfigureAwait(false);
                    _ = _connections.Add(Task.Run(() => ServeAsync(client, serve), CancellationToken.None));
                }
                catch (SocketException ex)
                {
                    // The client has gone already; or there are no descriptors, which may pass.
                    WhenRefused(ex);
                    await Task.Delay(Respite, time, closed).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
                catch (Exception ex) when (ex is OperationCanceledException or ObjectDisposedException)
                {
                    return;
                }
            }
        }
    }

    /// <summary>Ends when no connection is left.</summary>
    public Task WaitAsync() => _connections.WaitAsync();

    public void Dispose() => _places.Dispose();

    private async Task TakePlaceAsync(Socket client, CancellationToken closed)
    {
        if (_places.Wait(0, CancellationToken.None))
            return;
        WhenFull();
        try
        {
            await _places.WaitAsync(closed).ConfigureAwait(false);
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    private async Task ServeAsync(Socket client, Func<Socket, Task> serve)
    {
        try
        {
            client.NoDelay = true;
            await serve(client).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // One connection's failure is no other's.
        catch (Exception ex)
#pragma warning restore CA1031
        {
            SocketRelay.Reset(client);
            WhenFailed(ex);
        }
        finally
        {
            client.Dispose();
            _places.Release();
        }
    }
}
