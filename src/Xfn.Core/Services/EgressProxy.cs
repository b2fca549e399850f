using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>What leads a container out: a proxy for HTTP (CONNECT, and whole addresses) and SOCKS 5 on one port, and
/// links, whose every connection goes to one host. A policy says where to.</summary>
/// <remarks>All that it reads was written by the container, or by those whom the container asked. Whatever it has of a
/// connection is bounded: its time to say what it wants, its head, its buffers.</remarks>
internal sealed class EgressProxy : IDisposable
{
    /// <summary>How many connections a container may have at once. Further ones wait.</summary>
    public const int MaxConnections = 256;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly EgressConnector _connector;
    private readonly string _container;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly EgressRefusals _refusals;
    private readonly SemaphoreSlim _places = new(MaxConnections);

    public EgressProxy(EgressConnector connector, string container, ILogger logger, TimeProvider time)
    {
        (_connector, _container, _logger, _time) = (connector, container, logger, time);
        _refusals = new EgressRefusals(container, logger, time);
    }

    /// <summary>Serves a socket that listens in the container, until the token is cancelled; then all its connections
    /// are reset.</summary>
    public Task ServeAsync(Socket listener, CancellationToken cancellationToken) =>
        AcceptAsync(listener, TalkAsync, cancellationToken);

    /// <summary>The same of a socket that leads to one host.</summary>
    public Task LinkAsync(Socket listener, EgressTarget target, CancellationToken cancellationToken) =>
        AcceptAsync(listener, (client, token) => LeadAsync(client, target, token), cancellationToken);

    public void Dispose()
    {
        _refusals.End();
        _places.Dispose();
    }

    private async Task AcceptAsync(Socket listener, Func<Socket, CancellationToken, Task> serve, CancellationToken cancellationToken)
    {
        var connections = new BackgroundTasks();
        try
        {
            while (true)
            {
                Socket client;
                try
                {
                    client = await listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
                }
                catch (SocketException e)
                {
                    // The client has gone, or this process has no descriptor left.
                    _refusals.Add(new EgressRefusal(EgressRefusalKind.NoConnection, $"cannot accept a connection from the container: {e.Message}."));
                    await Task.Delay(Pause, _time, cancellationToken).ConfigureAwait(false);
                    continue;
                }

                await TakePlaceAsync(client, cancellationToken).ConfigureAwait(false);
                _ = connections.Add(RunAsync(client, serve, cancellationToken));
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // As it should be.
        }
        catch (ObjectDisposedException)
        {
            // So is that: the container has ended.
        }
        finally
        {
            listener.Dispose();
            await connections.WaitAsync().ConfigureAwait(false);
        }
    }

    private async Task TakePlaceAsync(Socket client, CancellationToken cancellationToken)
    {
        if (_places.Wait(0, CancellationToken.None))
            return;
        _refusals.Add(new EgressRefusal(EgressRefusalKind.NotAllowed, $"cannot serve a further connection yet: {MaxConnections} are open."));
        try
        {
            await _places.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    private async Task RunAsync(Socket client, Func<Socket, CancellationToken, Task> serve, CancellationToken cancellationToken)
    {
        try
        {
            client.NoDelay = true;
            await serve(client, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // The client must not take what it has for all.
            SocketRelay.Reset(client);
        }
#pragma warning disable CA1031 // One connection's failure is no other's.
        catch (Exception e)
#pragma warning restore CA1031
        {
            SocketRelay.Reset(client);
            EgressLog.Failed(_logger, _container, e);
        }
        finally
        {
            client.Dispose();
            _places.Release();
        }
    }

    private async Task TalkAsync(Socket client, CancellationToken cancellationToken)
    {
        using var session = new EgressSession(client, _connector, _refusals, _time);
        await session.RunAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task LeadAsync(Socket client, EgressTarget target, CancellationToken cancellationToken)
    {
        (NetworkStream? server, EgressRefusal? refusal) = await _connector.ConnectAsync(target, cancellationToken).ConfigureAwait(false);
        if (server is null)
        {
            // Nothing else can tell a program that knows of no proxy.
            _refusals.Add(refusal!);
            SocketRelay.Reset(client);
            return;
        }

        using (server)
            await SocketRelay.RelayAsync(client, server.Socket, EgressSession.HalfClosed, _time, cancellationToken).ConfigureAwait(false);
    }
}
