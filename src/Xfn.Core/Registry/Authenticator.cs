using System.Net;
using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>Sends requests with the authorization that a registry wants, and remembers it.</summary>
internal sealed class Authenticator(HttpExchanger exchanger, TokenClient tokens, CredentialSources credentials, RegistryOptions options)
{
    private readonly AuthorizationCache _cache = new();

    /// <summary>The response; 401 when what we have does not suffice.</summary>
    public async Task<HttpResponseMessage> SendAsync(RegistryRequest request, Uri uri, CancellationToken cancellationToken)
    {
        AuthorizationSlot slot = _cache.Get(new AuthorizationKey(uri.GetLeftPart(UriPartial.Authority), request.Endpoint.Prefix + request.Reference.Repository, request.Auth));
        var exchange = new HttpExchange { Method = request.Method, Uri = uri, Registry = uri, AddHeaders = request.AddHeaders };

        Authorization? used = slot.Current;
        bool refreshed = false;
        if (used is { Challenge: { } known } && used.IsExpired(options.TimeProvider))
            (used, refreshed) = (await RefreshAsync(slot, request, uri, [known], used, cancellationToken).ConfigureAwait(false), true);
        while (true)
        {
            HttpResponseMessage response = await exchanger.SendAsync(exchange with { Authorization = used?.Header }, cancellationToken).ConfigureAwait(false);
            if (response.StatusCode != HttpStatusCode.Unauthorized)
            {
                // Some refuse so what a token does not open. By the next request somebody may have logged in.
                if (response.StatusCode == HttpStatusCode.Forbidden)
                    slot.Forget(used);
                return response;
            }

            Challenge[] challenges = Challenge.Of(response);
            Uri asked = response.RequestMessage?.RequestUri ?? uri;
            if (!RegistryClients.SameAuthority(asked, uri))
                return await AnswerForeignAsync(exchange, asked, challenges, response, request, cancellationToken).ConfigureAwait(false);

            // Once a request: what a fresh token does not open, another one will not. The next request begins with what the registry wants by then.
            Authorization? refused = used;
            try
            {
                used = refreshed ? null : await RefreshAsync(slot, request, uri, challenges, refused, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                response.Dispose();
                throw;
            }

            if (used is null)
            {
                slot.Forget(refused);
                return response;
            }

            refreshed = true;
            response.Dispose();
        }
    }

    /// <summary>A host that the registry led to wants a token of its own: one is got without credentials, which were given for the registry only, and
    /// forgotten.</summary>
    private async Task<HttpResponseMessage> AnswerForeignAsync(
        HttpExchange exchange, Uri asked, Challenge[] challenges, HttpResponseMessage response, RegistryRequest request, CancellationToken cancellationToken)
    {
        if (challenges is not [{ IsBearer: true } challenge, ..])
            return response;
        response.Dispose();
        RegistryToken token = await tokens.FetchAsync(asked, challenge, Scope(request), RegistryCredentials.Anonymous, cancellationToken).ConfigureAwait(false);
        return await exchanger.SendAsync(
            exchange with { Uri = asked, Authorization = new AuthenticationHeaderValue("Bearer", token.Value) }, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Another authorization than <paramref name="stale"/>; null when there is none. One caller of many gets it, the others wait.</summary>
    private async Task<Authorization?> RefreshAsync(
        AuthorizationSlot slot, RegistryRequest request, Uri uri, Challenge[] challenges, Authorization? stale, CancellationToken cancellationToken)
    {
        await slot.Gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (slot.Current is { } current && !ReferenceEquals(current, stale))
                return current;

            RegistryCredentials found = await credentials.FindAsync(request, cancellationToken).ConfigureAwait(false);
            foreach (Challenge challenge in challenges)
            {
                if (await AuthorizeAsync(challenge, found, request, uri, cancellationToken).ConfigureAwait(false) is { } fresh && (stale is null || stale.IsExpired(options.TimeProvider) || !fresh.Header.Equals(stale.Header)))
                    return slot.Current = fresh;
            }

            return null;
        }
        finally
        {
            slot.Gate.Release();
        }
    }

    private async Task<Authorization?> AuthorizeAsync(Challenge challenge, RegistryCredentials found, RegistryRequest request, Uri uri, CancellationToken cancellationToken)
    {
        if (challenge.IsBasic)
            return found.Basic is { } basic ? new Authorization(basic, null, 0) : null;
        if (!challenge.IsBearer)
            return null;
        if (found.RegistryToken is { } given)
            return new Authorization(new AuthenticationHeaderValue("Bearer", given), null, 0);

        RegistryToken token = await tokens.FetchAsync(uri, challenge, Scope(request), found, cancellationToken).ConfigureAwait(false);

        // A little early, so that a token does not run out on its way.
        long expires = options.TimeProvider.GetTimestamp() + (long)(token.Lifetime.TotalSeconds * 0.9 * options.TimeProvider.TimestampFrequency);
        return new Authorization(new AuthenticationHeaderValue("Bearer", token.Value), challenge, expires);
    }

    private static string Scope(RegistryRequest request) => $"repository:{request.Endpoint.Prefix}{request.Reference.Repository}:pull";
}
