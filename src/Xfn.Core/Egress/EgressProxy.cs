using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Xfn.Core.Egress;

/// <summary>What leads a container out: a proxy for HTTP (CONNECT, and whole addresses) and SOCKS 5 on one port, and
/// links, whose every connection goes to one host. A policy says where to.</summary>
/// <remarks>All that it reads was written by the container, or by those whom the container asked. Whatever it has of a
/// connection is bounded: its time to say what it wants, its head, its buffers.</remarks>
internal sealed class EgressProxy : IDisposable
{
    /// <summary>How many connections a container may have at once. Further ones wait.</summary>
    public const int MaxConnections = 256;

    private readonly EgressConnector _connector;
    private readonly TimeProvider _time;
    private readonly EgressRefusals _refusals;
    private readonly Acceptor _acceptor;

    public EgressProxy(EgressConnector connector, string container, ILogger logger, TimeProvider time)
    {
        (_connector, _time) = (connector, time);
        _refusals = new EgressRefusals(container, logger, time);
        _acceptor = new Acceptor(MaxConnections, time)
        {
            WhenFull = () => _refusals.Add(new EgressRefusal(EgressRefusalKind.NotAllowed, $"cannot serve a further connection yet: {MaxConnections} are open.")),
            WhenRefused = ex => _refusals.Add(new EgressRefusal(EgressRefusalKind.NoConnection, $"cannot accept a connection from the container: {ex.Message}.")),
            WhenFailed = ex =>
            {
                if (ex is not (SocketException or OperationCanceledException))
                    EgressLog.Failed(logger, container, ex);
            },
        };
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
        _acceptor.Dispose();
    }

    private async Task AcceptAsync(Socket listener, Func<Socket, CancellationToken, Task> serve, CancellationToken cancellationToken)
    {
        await _acceptor.AcceptAsync(listener, client => serve(client, cancellationToken), cancellationToken).ConfigureAwait(false);
        await _acceptor.WaitAsync().ConfigureAwait(false);
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
