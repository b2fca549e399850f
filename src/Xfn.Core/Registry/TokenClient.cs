using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

internal sealed record RegistryToken(string Value, TimeSpan Lifetime);

/// <summary>Exchanges credentials for tokens.</summary>
/// <remarks>By <see href="https://distribution.github.io/distribution/spec/auth/token/">token</see> and
/// <see href="https://distribution.github.io/distribution/spec/auth/oauth/">OAuth2</see> authentication.</remarks>
internal sealed class TokenClient(HttpMessageInvoker servers, RegistryOptions options)
{
    private const int TokenLimit = 64 * 1024;
    private const string ClientId = "xfn";

    // What the specification says holds when the server does not.
    private static readonly TimeSpan DefaultLifetime = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan LongestLifetime = TimeSpan.FromDays(1);

    /// <summary>Gets the token that a registry wants for the credentials that were found; for
    /// <paramref name="defaultScope"/> when its challenge says no scope.</summary>
    /// <exception cref="UnauthorizedException">The token server refuses.</exception>
    /// <exception cref="XfnException">There is no token to be had.</exception>
    public async Task<RegistryToken> FetchAsync(Uri registry, Challenge challenge, string defaultScope, CredentialSearch search, CancellationToken cancellationToken)
    {
        ImagePullAuth credentials = search.Credentials;
        string scope = challenge.Parameters.GetValueOrDefault("scope") is { Length: > 0 } wanted ? wanted : defaultScope;
        string? service = challenge.Parameters.GetValueOrDefault("service");
        Uri realm;
        HttpRequestMessage get;
        try
        {
            // What can be read as a URL cannot always be written as one.
            realm = new Uri(challenge.Parameters.GetValueOrDefault("realm") ?? "");
            get = Get(registry, realm, scope, service, credentials);
        }
        catch (UriFormatException)
        {
            throw Failure(registry, "it names no token server's URL");
        }

        HttpRequestMessage asked = get;
        try
        {
            HttpResponseMessage? response = null;
            if (credentials.IdentityToken is { } identity)
            {
                asked = Post(registry, realm, scope, service, identity);
                response = await servers.SendAsync(asked, cancellationToken).ConfigureAwait(false);

                // Not every token server knows the newer exchange. Some say so by refusing it, and take the token for a
                // password.
                if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed
                    || (response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden && credentials.Basic is not null))
                {
                    response.Dispose();
                    (response, asked) = (null, get);
                }
            }

            using HttpResponseMessage answer = response ?? await servers.SendAsync(asked, cancellationToken).ConfigureAwait(false);
            RegistryToken token = await ReadAsync(registry, asked, answer, search, cancellationToken).ConfigureAwait(false);
            RegistryLog.TokenFetched(options.Logger, registry.Authority, scope, realm.Host, token.Lifetime);
            return token;
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException or RefusedUrlException)
        {
            (string found, string remedy) = RegistryErrors.Explain(e);
            throw new XfnException(
                RunStage.Resolve, $"cannot get a token for registry '{registry.Authority}' from '{realm.Host}': {found}. {remedy}", new RegistryException(asked, cause: e));
        }
    }

    private static HttpRequestMessage Get(Uri registry, Uri realm, string scope, string? service, ImagePullAuth credentials)
    {
        // One parameter a scope: servers differ in whether they split the value of one.
        IEnumerable<string> parameters = scope.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(s => "scope=" + Uri.EscapeDataString(s));
        if (!string.IsNullOrEmpty(service))
            parameters = parameters.Prepend("service=" + Uri.EscapeDataString(service));
        var uri = new UriBuilder(realm);
        uri.Query = string.Join('&', parameters.Prepend(uri.Query.TrimStart('?')).Where(p => p.Length > 0));
        var request = new HttpRequestMessage(HttpMethod.Get, uri.Uri);
        request.Options.Set(RedirectFollower.Origin, registry);
        request.Headers.Authorization = credentials.Basic;
        return request;
    }

    private static HttpRequestMessage Post(Uri registry, Uri realm, string scope, string? service, string identity)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, realm)
        {
            Content = new FormUrlEncodedContent(new Dictionary<string, string>
            {
                ["grant_type"] = "refresh_token",
                ["refresh_token"] = identity,
                ["client_id"] = ClientId,
                ["service"] = service ?? "",
                ["scope"] = scope,
            }),
        };
        request.Options.Set(RedirectFollower.Origin, registry);
        return request;
    }

    private async Task<RegistryToken> ReadAsync(
        Uri registry, HttpRequestMessage asked, HttpResponseMessage response, CredentialSearch search, CancellationToken cancellationToken)
    {
        string server = asked.RequestUri!.Host;
        int status = (int)response.StatusCode;
        string[] secrets = [search.Credentials.Password ?? "", search.Credentials.IdentityToken ?? "", search.Credentials.Basic?.Parameter ?? ""];
        ServerWords words = response.IsSuccessStatusCode ? ServerWords.None : await ServerWords.ReadAsync(response, options.TimeProvider, secrets, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.BadRequest)
        {
            throw new UnauthorizedException(
                $"cannot get a token for registry '{registry.Authority}': token server '{server}' answered {status}{words.Quote}{search.Describe()}. "
                + (search.HasFound ? "Check these credentials, and that they have not expired." : "Give credentials that may pull the image, and check that it exists."),
                new RegistryException(asked, response.StatusCode, words.Code));
        }

        if (!response.IsSuccessStatusCode)
            throw Failure(registry, $"token server '{server}' answered {status}{words.Quote}, expected 200", "Try again later or ask the registry's operator.", new RegistryException(asked, response.StatusCode, words.Code));

        using Stream stream = await ProgressStream.OpenAsync(response.Content, response, options, cancellationToken).ConfigureAwait(false);
        byte[] content = await BoundedContent.ReadAsync(stream, TokenLimit, cancellationToken).ConfigureAwait(false)
            ?? throw Failure(registry, $"token server '{server}' sent more than {TokenLimit} bytes");
        return Parse(content) ?? throw Failure(registry, $"token server '{server}' sent no token");
    }

    private static RegistryToken? Parse(byte[] content)
    {
        try
        {
            TokenResponse? response = JsonSerializer.Deserialize(content, TokenJsonContext.Default.TokenResponse);
            string? value = string.IsNullOrEmpty(response?.AccessToken) ? response?.Token : response.AccessToken;
            if (string.IsNullOrEmpty(value) || value.AsSpan().ContainsAnyExceptInRange('!', '~'))
                return null;
            return new RegistryToken(value, Lifetime(response!.ExpiresIn));
        }
        catch (JsonException)
        {
            // Its message may quote the document, which may hold the token.
            return null;
        }
    }

    /// <summary>A token is good for a while whether its server says so as a number, as a text, or not.</summary>
    private static TimeSpan Lifetime(JsonElement expiresIn)
    {
        // As it is written: what a text escapes is no number, and may be no text either.
        string? text = expiresIn.ValueKind is JsonValueKind.Number or JsonValueKind.String ? expiresIn.GetRawText().Trim('"') : null;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds > 0
            ? TimeSpan.FromSeconds(Math.Min(seconds, LongestLifetime.TotalSeconds))
            : DefaultLifetime;
    }

    private static XfnException Failure(Uri registry, string found, string remedy = "Ask the registry's operator.", RegistryException? cause = null) =>
        new(RunStage.Resolve, $"cannot get a token for registry '{registry.Authority}': {found}. {remedy}", cause) { IsTransient = cause is not null && RetryHandler.IsPassing(cause) };
}

internal sealed record TokenResponse(string? Token, string? AccessToken, JsonElement ExpiresIn);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(TokenResponse))]
internal sealed partial class TokenJsonContext : JsonSerializerContext;
