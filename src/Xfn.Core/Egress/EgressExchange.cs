using System.Net.Sockets;

namespace Xfn.Core.Egress;

/// <summary>One HTTP message that is sent on, and its answer. Nothing else is sent on its connection.</summary>
internal sealed class EgressExchange(Socket client, EgressInput input, Socket server, TimeProvider time)
{
    private bool _hasAnswered;

    /// <summary>Sends the request, and its answer back.</summary>
    /// <returns>Null, or what is still to be answered.</returns>
    /// <exception cref="SocketException">A connection failed in the middle of the answer.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled, or the server was silent for too long.</exception>
    public async Task<EgressRefusal?> RunAsync(EgressHttpRequest request, CancellationToken cancellationToken)
    {
        using var silence = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, silence.Token);
        Task<EgressRefusal?> sending = SendAsync(request, silence, stop.Token);
        Task<EgressRefusal?> answering = AnswerAsync(stop.Token);
        try
        {
            if (await Task.WhenAny(sending, answering).ConfigureAwait(false) == answering || await sending.ConfigureAwait(false) is not { } refusal)
                return await answering.ConfigureAwait(false);

            // Nothing of a request that is malformed is left to be guessed at.
            SocketRelay.Reset(server);
            await EndAsync().ConfigureAwait(false);
            if (!_hasAnswered)
                return refusal;
            SocketRelay.Reset(client);
            return null;
        }
        finally
        {
            await EndAsync().ConfigureAwait(false);
        }

        async Task EndAsync()
        {
            await stop.CancelAsync().ConfigureAwait(false);
            Task both = Task.WhenAll(sending, answering);
            await both.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Sends head and body, then passes on the client's end. Ends without an error where the server takes no
    /// more: it may have answered.</summary>
    private async Task<EgressRefusal?> SendAsync(EgressHttpRequest request, CancellationTokenSource silence, CancellationToken cancellationToken)
    {
        if (!await TrySendAsync(request.Head!, cancellationToken).ConfigureAwait(false))
            return null;
        while (!request.Body.IsComplete)
        {
            if (input.Unused.IsEmpty && !await input.ReadAsync(cancellationToken).ConfigureAwait(false))
                return new EgressRefusal(EgressRefusalKind.Malformed, "cannot send the request on: its body ended early.");
            int count = request.Body.Take(input.Unused.Span);
            if (count < 0)
                return new EgressRefusal(EgressRefusalKind.Malformed, "cannot send the request on: its chunks are malformed.");
            if (!await TrySendAsync(input.Unused[..count], cancellationToken).ConfigureAwait(false))
                return null;
            input.Use(count);
        }

        // A further request stays where it is: the answer says that the connection ends.
        if (input.Unused.IsEmpty && !await input.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            server.Shutdown(SocketShutdown.Send);
            silence.CancelAfter(EgressSession.HalfClosed);
        }

        return null;
    }

    private async Task<bool> TrySendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            await server.SendAsync(bytes, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private async Task<EgressRefusal?> AnswerAsync(CancellationToken cancellationToken)
    {
        using (var answer = new EgressInput(server))
        {
            while (true)
            {
                int length;
                try
                {
                    (length, _) = await answer.ReadHeadAsync(cancellationToken).ConfigureAwait(false);
                }
                catch (SocketException) when (!_hasAnswered)
                {
                    length = 0;
                }

                if (length == 0 || EgressHttpResponse.TryParse(answer.Unused.Span[..length]) is not { } response)
                    return new EgressRefusal(EgressRefusalKind.BadAnswer, $"cannot pass on the answer: its head is not HTTP/1, or longer than {SocketRelay.BufferBytes} bytes.");
                answer.Use(length);
                _hasAnswered = true;
                await client.SendAsync(response.Head, cancellationToken).ConfigureAwait(false);
                if (response.IsLast)
                    break;
            }

            await client.SendAsync(answer.Unused, cancellationToken).ConfigureAwait(false);
        }

        await SocketRelay.PassAsync(server, client, static () => { }, cancellationToken).ConfigureAwait(false);
        return null;
    }
}
