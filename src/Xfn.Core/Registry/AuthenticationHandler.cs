using System.Net;
using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>Gives requests the authorization that a registry wants, and remembers it.</summary>
internal sealed class AuthenticationHandler(HttpMessageHandler inner, TokenClient tokens, RegistryOptions options) : DelegatingHandler(inner)
{
    private const int MaxSlots = 512;

    private readonly CredentialSources _credentials = new(options);

    // By scheme, host and port, scope, and the credentials that came with the request, null for the runner's own. The
    // least recently used of too many is forgotten.
    private readonly Dictionary<(string Registry, string Scope, ImagePullAuth? Auth), (AuthorizationSlot Slot, long Used)> _slots = [];
    private readonly Lock _lock = new();
    private long _clock;

    /// <summary>The response; 401 or 403 when what we have does not suffice.</summary>
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        RegistryTarget target = RegistryTarget.Of(request);
        Uri uri = request.RequestUri!;
        AuthorizationSlot slot = SlotOf(uri, target);
        Authorization? used = slot.Current;
        int refreshes = 0;
        if (used is not null && used.IsExpired(options.TimeProvider))
            (used, refreshes) = (await RefreshAsync(slot, target, uri, [used.Challenge], used, cancellationToken).ConfigureAwait(false), 1);
        while (true)
        {
            request.Headers.Authorization = used?.Header;
            HttpResponseMessage response = await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
            Challenge[] challenges = Challenge.Of(response);
            Uri asked = RedirectFollower.AskedOf(request);
            if (response.StatusCode == HttpStatusCode.Unauthorized && RedirectFollower.IsUpgrade(uri, asked))
            {
                // The registry wants HTTPS, so it gets the credentials there at once, and none in the clear.
                response.Dispose();
                request.RequestUri = target.Url(Uri.UriSchemeHttps);
                return await SendAsync(request, cancellationToken).ConfigureAwait(false);
            }

            if (!RedirectFollower.SameAuthority(asked, uri))
            {
                return response.StatusCode == HttpStatusCode.Unauthorized
                    ? await AnswerForeignAsync(request, challenges, response, target, cancellationToken).ConfigureAwait(false)
                    : response;
            }

            // Some say 403 or 400 of a password or a token that has run out, and not what they want instead. To a
            // request that showed neither it is the last word.
            bool mayHaveExpired = response.StatusCode is HttpStatusCode.Forbidden or HttpStatusCode.BadRequest && used is not null;
            if (response.StatusCode != HttpStatusCode.Unauthorized && !mayHaveExpired)
                return Answer(request, response, slot);

            // Once for each request: another token opens nothing that a fresh one did not. A password may, if it is
            // wanted by then. The next request begins with what the registry wants by then.
            Authorization? refused = used;
            bool wantsPassword = !mayHaveExpired && refused is { Challenge.IsBearer: true } && challenges is [{ IsBearer: false }, ..] && challenges.Any(c => c.IsBasic);
            try
            {
                if (mayHaveExpired)
                    challenges = [refused!.Challenge];
                else if (wantsPassword && refreshes == 0)
                    challenges = [refused!.Challenge, .. challenges];
                else if (refreshes == 0 && !challenges.Any(c => c.IsBearer || c.IsBasic))
                    challenges = await AskRootAsync(uri, cancellationToken).ConfigureAwait(false);
                used = refreshes >= (wantsPassword ? 2 : 1) ? null : await RefreshAsync(slot, target, uri, challenges, refused, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                response.Dispose();
                throw;
            }

            if (used is null)
            {
                slot.Forget(refused);
                return Answer(request, response, slot);
            }

            refreshes++;
            response.Dispose();
        }
    }

    private AuthorizationSlot SlotOf(Uri uri, RegistryTarget target)
    {
        (string Registry, string Scope, ImagePullAuth? Auth) key = (uri.GetLeftPart(UriPartial.Authority), target.Scope, target.Auth);
        lock (_lock)
        {
            AuthorizationSlot slot = _slots.TryGetValue(key, out (AuthorizationSlot Slot, long Used) entry) ? entry.Slot : new AuthorizationSlot();
            _slots[key] = (slot, ++_clock);
            if (_slots.Count > MaxSlots)
                _slots.Remove(_slots.MinBy(s => s.Value.Used).Key);
            return slot;
        }
    }

    /// <summary>What a registry wants that did not say so where it refused: some say it at the root of their API only.
    /// The scope there is nobody's.</summary>
    private async Task<Challenge[]> AskRootAsync(Uri uri, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(uri, "/v2/"));
        using HttpResponseMessage response = await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
        return response.StatusCode == HttpStatusCode.Unauthorized && RedirectFollower.SameAuthority(RedirectFollower.AskedOf(request), uri)
            ? [.. Challenge.Of(response).Select(c => c.WithoutScope())]
            : [];
    }

    /// <summary>An answer, with the search that found what it answers to.</summary>
    private static HttpResponseMessage Answer(HttpRequestMessage request, HttpResponseMessage response, AuthorizationSlot slot)
    {
        if (slot.Search is { } search)
            request.Options.Set(CredentialSearch.Key, search);
        return response;
    }

    /// <summary>Gets a token for a host that the registry led to: without credentials, which were given for the
    /// registry only. The token is forgotten afterwards.</summary>
    private async Task<HttpResponseMessage> AnswerForeignAsync(
        HttpRequestMessage request, Challenge[] challenges, HttpResponseMessage response, RegistryTarget target, CancellationToken cancellationToken)
    {
        if (challenges is not [{ IsBearer: true } challenge, ..])
            return response;
        response.Dispose();
        Uri asked = RedirectFollower.AskedOf(request);
        RegistryToken token = await tokens.FetchAsync(asked, challenge, target.Scope, new CredentialSearch(), cancellationToken).ConfigureAwait(false);
        using HttpRequestMessage foreign = RedirectFollower.Copy(request, asked, request.RequestUri!);
        foreign.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token.Value);
        return await base.SendAsync(foreign, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>An authorization other than <paramref name="stale"/>, or null. One gets it, others wait.</summary>
    private async Task<Authorization?> RefreshAsync(
        AuthorizationSlot slot, RegistryTarget target, Uri uri, Challenge[] challenges, Authorization? stale, CancellationToken cancellationToken)
    {
        await slot.Gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (slot.Current is { } current && !ReferenceEquals(current, stale))
                return current;

            CredentialSearch search = slot.Search = await _credentials.FindAsync(target, cancellationToken).ConfigureAwait(false);
            foreach (Challenge challenge in challenges)
            {
                if (await AuthorizeAsync(challenge, search, target, uri, cancellationToken).ConfigureAwait(false) is { } fresh
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
        Challenge challenge, CredentialSearch search, RegistryTarget target, Uri uri, CancellationToken cancellationToken)
    {
        if (challenge.IsBasic)
            return search.Credentials.Basic is { } basic ? new Authorization(basic, challenge, long.MaxValue) : null;
        if (!challenge.IsBearer)
            return null;
        if (search.Credentials.RegistryToken is { } given)
            return new Authorization(new AuthenticationHeaderValue("Bearer", given), challenge, long.MaxValue);

        RegistryToken token = await tokens.FetchAsync(uri, challenge, target.Scope, search, cancellationToken).ConfigureAwait(false);

        // A little early, so that a token does not run out on its way.
        long expires = options.TimeProvider.GetTimestamp() + (long)(token.Lifetime.TotalSeconds * 0.9 * options.TimeProvider.TimestampFrequency);
        return new Authorization(new AuthenticationHeaderValue("Bearer", token.Value), challenge, expires);
    }
}

/// <summary>A header, the challenge that it answers, by which the next one is got, and the timestamp at which it is not
/// good any more; the greatest where it is good until it is refused.</summary>
internal sealed record Authorization(AuthenticationHeaderValue Header, Challenge Challenge, long Expires)
{
    public bool IsExpired(TimeProvider time) => time.GetTimestamp() >= Expires;
}

/// <summary>Where an authorization is kept.</summary>
internal sealed class AuthorizationSlot
{
    private volatile Authorization? _current;
    private volatile CredentialSearch? _search;

    /// <summary>Held by who gets another authorization.</summary>
    public SemaphoreSlim Gate { get; } = new(1, 1);

    public Authorization? Current { get => _current; set => _current = value; }

    /// <summary>The latest search for the credentials behind it; null before the registry has asked for any.</summary>
    public CredentialSearch? Search { get => _search; set => _search = value; }

    /// <summary>Drops what was refused, unless it was replaced meanwhile.</summary>
    public void Forget(Authorization? refused) => Interlocked.CompareExchange(ref _current, null, refused);
}
