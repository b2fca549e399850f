using System.Net;
using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>Sends requests with the authorization that a registry wants, and remembers it.</summary>
internal sealed class Authenticator(HttpExchanger exchanger, TokenClient tokens, CredentialSources credentials, RegistryOptions options)
{
    private readonly AuthorizationCache _cache = new();

    /// <summary>The response; 401 or 403 when what we have does not suffice.</summary>
    public async Task<HttpResponseMessage> SendAsync(RegistryRequest request, Uri uri, CancellationToken cancellationToken)
    {
        AuthorizationSlot slot = _cache.Get(new AuthorizationKey(uri.GetLeftPart(UriPartial.Authority), request.Endpoint.Prefix + request.Reference.Repository, request.Auth));
        var exchange = new HttpExchange { Method = request.Method, Uri = uri, Registry = uri, AddHeaders = request.AddHeaders };

        Authorization? used = slot.Current;
        bool refreshed = false;
        if (used is not null && used.IsExpired(options.TimeProvider))
            (used, refreshed) = (await RefreshAsync(slot, request, uri, [used.Challenge], used, cancellationToken).ConfigureAwait(false), true);
        while (true)
        {
            HttpResponseMessage response = await exchanger.SendAsync(exchange with { Authorization = used?.Header }, cancellationToken).ConfigureAwait(false);
            Uri asked = response.RequestMessage?.RequestUri ?? uri;
            Challenge[] challenges = Challenge.Of(response);
            if (!RegistryClients.SameAuthority(asked, uri))
            {
                return response.StatusCode == HttpStatusCode.Unauthorized
                    ? await AnswerForeignAsync(exchange, asked, challenges, response, request, cancellationToken).ConfigureAwait(false)
                    : response;
            }

            // Some say 403 or 400 of a password or a token that has run out, and not what they want instead. To a
            // request that showed neither it is the last word.
            bool mayHaveExpired = response.StatusCode is HttpStatusCode.Forbidden or HttpStatusCode.BadRequest && used is not null;
            if (response.StatusCode != HttpStatusCode.Unauthorized && !mayHaveExpired)
                return Answer(response, slot);

            // Once a request: what a fresh token does not open, another one will not. The next request begins with what the registry wants by then.
            Authorization? refused = used;
            try
            {
                if (mayHaveExpired)
                    challenges = [refused!.Challenge];
                else if (!refreshed && !challenges.Any(c => c.IsBearer || c.IsBasic))
                    challenges = await AskRootAsync(exchange, cancellationToken).ConfigureAwait(false);
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
                return Answer(response, slot);
            }

            refreshed = true;
            response.Dispose();
        }
    }

    /// <summary>What a registry wants that did not say so where it refused: some say it at the root of their API only.
    /// The scope there is nobody's.</summary>
    private async Task<Challenge[]> AskRootAsync(HttpExchange exchange, CancellationToken cancellationToken)
    {
        var root = new Uri(exchange.Uri, "/v2/");
        using HttpResponseMessage response = await exchanger.SendAsync(
            exchange with { Method = HttpMethod.Get, Uri = root, AddHeaders = RegistryRequest.AddCommonHeaders }, cancellationToken).ConfigureAwait(false);
        return response.StatusCode == HttpStatusCode.Unauthorized && RegistryClients.SameAuthority(response.RequestMessage?.RequestUri ?? root, root)
            ? [.. Challenge.Of(response).Select(c => c.WithoutScope())]
            : [];
    }

    /// <summary>An answer, with the search that found what it answers to.</summary>
    private static HttpResponseMessage Answer(HttpResponseMessage response, AuthorizationSlot slot)
    {
        if (slot.Search is { } search)
            response.RequestMessage?.Options.Set(CredentialSearch.Key, search);
        return response;
    }

    /// <summary>A host that the registry led to wants a token of its own: one is got without credentials, which were given for the registry only, and
    /// forgotten.</summary>
    private async Task<HttpResponseMessage> AnswerForeignAsync(
        HttpExchange exchange, Uri asked, Challenge[] challenges, HttpResponseMessage response, RegistryRequest request, CancellationToken cancellationToken)
    {
        if (challenges is not [{ IsBearer: true } challenge, ..])
            return response;
        response.Dispose();
        RegistryToken token = await tokens.FetchAsync(asked, challenge, Scope(request), new CredentialSearch(), cancellationToken).ConfigureAwait(false);
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

            CredentialSearch search = slot.Search = await credentials.FindAsync(request, cancellationToken).ConfigureAwait(false);
            foreach (Challenge challenge in challenges)
            {
                if (await AuthorizeAsync(challenge, search, request, uri, cancellationToken).ConfigureAwait(false) is { } fresh
                    && (stale is null || stale.IsExpired(options.TimeProvider) || !fresh.Header.Equals(stale.Header)))
                {
                    return slot.Current = fresh;
                }
            }

            return null;
        }
        finally
        {
            slot.Gate.Release();
        }
    }

    private async Task<Authorization?> AuthorizeAsync(
        Challenge challenge, CredentialSearch search, RegistryRequest request, Uri uri, CancellationToken cancellationToken)
    {
        if (challenge.IsBasic)
            return search.Credentials.Basic is { } basic ? new Authorization(basic, challenge, long.MaxValue) : null;
        if (!challenge.IsBearer)
            return null;
        if (search.Credentials.RegistryToken is { } given)
            return new Authorization(new AuthenticationHeaderValue("Bearer", given), challenge, long.MaxValue);

        RegistryToken token = await tokens.FetchAsync(uri, challenge, Scope(request), search, cancellationToken).ConfigureAwait(false);

        // A little early, so that a token does not run out on its way.
        long expires = options.TimeProvider.GetTimestamp() + (long)(token.Lifetime.TotalSeconds * 0.9 * options.TimeProvider.TimestampFrequency);
        return new Authorization(new AuthenticationHeaderValue("Bearer", token.Value), challenge, expires);
    }

    private static string Scope(RegistryRequest request) => $"repository:{request.Endpoint.Prefix}{request.Reference.Repository}:pull";
}
