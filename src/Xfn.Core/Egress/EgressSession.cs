using System.Net.Sockets;
using System.Text;

namespace Xfn.Core.Egress;

/// <summary>One connection to the proxy: what is asked, whether it is granted, and what passes then.</summary>
internal sealed class EgressSession(Socket client, EgressConnector connector, EgressRefusals refusals, TimeProvider time) : IDisposable
{
    /// <summary>How long a client may take to say what it wants.</summary>
    public static readonly TimeSpan HeadTime = TimeSpan.FromSeconds(10);

    /// <summary>How long one side may be silent after the other has ended.</summary>
    public static readonly TimeSpan HalfClosed = TimeSpan.FromMinutes(5);

    /// <summary>How long what a client still sends after a refusal is read, so that it comes to read that.</summary>
    private static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(2);

    private static readonly ReadOnlyMemory<byte> Established = "HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray();

    private readonly EgressInput _input = new(client);
    private bool _isSocks;

    /// <summary>Serves the connection to its end.</summary>
    /// <exception cref="SocketException">It failed; the caller resets it.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (await ReadAsync(cancellationToken).ConfigureAwait(false) is not { } request)
            return;
        (NetworkStream? server, EgressRefusal? refusal) = await connector.ConnectAsync(request.Target, cancellationToken).ConfigureAwait(false);
        using (server)
        {
            try
            {
                if (server is not null && request.Head is null)
                    await TunnelAsync(server.Socket, cancellationToken).ConfigureAwait(false);
                else if (server is not null)
                    refusal = await new EgressExchange(client, _input, server.Socket, time).RunAsync(request, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                // The server must not take what it has for all.
                SocketRelay.Reset(server!.Socket);
                throw;
            }
        }

        if (refusal is not null)
            await RefuseAsync(refusal, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Gives back what was read ahead; the connection is its caller's.</summary>
    public void Dispose() => _input.Dispose();

    /// <summary>Reads what is asked; null where that was refused, or nothing was asked.</summary>
    private async Task<EgressHttpRequest?> ReadAsync(CancellationToken cancellationToken)
    {
        using var late = new CancellationTokenSource(HeadTime, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        EgressHttpRequest? request = null;
        EgressRefusal? refusal;
        try
        {
            if (!await _input.ReadAsync(linked.Token).ConfigureAwait(false))
                return null;
            _isSocks = _input.Unused.Span[0] == EgressSocks.Version;
            (request, refusal) = _isSocks ? await ReadSocksAsync(linked.Token).ConfigureAwait(false) : await ReadHttpAsync(linked.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            refusal = _input.Unused.IsEmpty ? null : new EgressRefusal(EgressRefusalKind.TooLate, $"cannot read a request to the proxy: it was not whole within {HeadTime.TotalSeconds:0} seconds.");
        }

        if (refusal is not null)
            await RefuseAsync(refusal, cancellationToken).ConfigureAwait(false);
        return request;
    }

    private async Task<(EgressHttpRequest? Request, EgressRefusal? Refusal)> ReadHttpAsync(CancellationToken cancellationToken)
    {
        (int length, string? found) = await _input.ReadHeadAsync(cancellationToken).ConfigureAwait(false);
        if (length == 0 && found is null)
            return (null, null);
        EgressHttpRequest? request = length > 0 ? EgressHttpRequest.TryParse(_input.Unused.Span[..length], out found) : null;
        if (request is null)
            return (null, new EgressRefusal(_input.IsFull ? EgressRefusalKind.TooLarge : EgressRefusalKind.Malformed, $"cannot read a request to the proxy: {found}."));
        _input.Use(length);
        return (request, null);
    }

    private async Task<(EgressHttpRequest? Request, EgressRefusal? Refusal)> ReadSocksAsync(CancellationToken cancellationToken)
    {
        int length;
        bool takesNone;
        while ((length = EgressSocks.ReadMethods(_input.Unused.Span, out takesNone)) == 0)
        {
            if (!await _input.ReadAsync(cancellationToken).ConfigureAwait(false))
                return (null, null);
        }

        _input.Use(length);
        await client.SendAsync(takesNone ? EgressSocks.NoAuthentication : EgressSocks.NoAcceptableMethod, cancellationToken).ConfigureAwait(false);
        if (!takesNone)
            return (null, null);

        EgressTarget? target;
        EgressRefusal? refusal;
        while ((length = EgressSocks.ReadRequest(_input.Unused.Span, out target, out refusal)) == 0 && refusal is null)
        {
            if (!await _input.ReadAsync(cancellationToken).ConfigureAwait(false))
                return (null, null);
        }

        _input.Use(length);
        return (target is null ? null : new EgressHttpRequest(target, null, EgressHttpBody.Sized(0)), refusal);
    }

    private async Task TunnelAsync(Socket server, CancellationToken cancellationToken)
    {
        await client.SendAsync(_isSocks ? EgressSocks.Reply(0) : Established, cancellationToken).ConfigureAwait(false);

        // Some do not wait for the answer.
        await server.SendAsync(_input.Unused, cancellationToken).ConfigureAwait(false);
        _input.Dispose();
        await SocketRelay.RelayAsync(client, server, HalfClosed, time, cancellationToken).ConfigureAwait(false);
    }

    private async Task RefuseAsync(EgressRefusal refusal, CancellationToken cancellationToken)
    {
        refusals.Add(refusal);
        await client.SendAsync(_isSocks ? EgressSocks.Reply(refusal.Reply) : Answer(refusal), cancellationToken).ConfigureAwait(false);
        client.Shutdown(SocketShutdown.Send);

        // What is not read when a connection is closed resets it, and the answer may be lost.
        using var late = new CancellationTokenSource(DrainTime, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        try
        {
            do
                _input.Use(_input.Unused.Length);
            while (await _input.ReadAsync(linked.Token).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // It sends more than a refusal is worth.
        }
    }

    private static byte[] Answer(EgressRefusal refusal)
    {
        byte[] text = Encoding.UTF8.GetBytes(refusal.Why + "\n");
        return [.. Encoding.ASCII.GetBytes($"HTTP/1.1 {refusal.Status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {text.Length}\r\nConnection: close\r\n\r\n"), .. text];
    }
}
