using System.Net;
using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>Follows redirects where they may lead. Authorization stays with the host that it was given for.</summary>
/// <remarks>Each hop is its own message, which nobody changes: a connection that is still being made is judged by the
/// message that asked for it (<see cref="RegistryConnections"/>).</remarks>
internal sealed class RedirectFollower(HttpMessageHandler inner, RegistryOptions options) : DelegatingHandler(inner)
{
    /// <summary>Where a request keeps the registry that named its URL; without it, the URL is the registry's.</summary>
    public static readonly HttpRequestOptionsKey<Uri> Origin = new("xfn.origin");

    /// <summary>Where a request keeps the URL that was asked last for it.</summary>
    public static readonly HttpRequestOptionsKey<Uri> Asked = new("xfn.asked");

    private const int MaxRedirects = 10;
    private static readonly string UserAgent = $"xfn/{typeof(RedirectFollower).Assembly.GetName().Version?.ToString(3)}";

    public static Uri AskedOf(HttpRequestMessage request) => request.Options.TryGetValue(Asked, out Uri? asked) ? asked : request.RequestUri!;

    public static Uri OriginOf(HttpRequestMessage request) => request.Options.TryGetValue(Origin, out Uri? origin) ? origin : request.RequestUri!;

    /// <summary>Whether two URLs have one scheme, host and port.</summary>
    public static bool SameAuthority(Uri one, Uri other) =>
        one.Scheme == other.Scheme && one.Port == other.Port && one.IdnHost.Equals(other.IdnHost, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether a URL is the HTTPS form of another: of the same host, both at default ports.</summary>
    public static bool IsUpgrade(Uri from, Uri to) => from is { Scheme: "http", IsDefaultPort: true } && to is { Scheme: "https", IsDefaultPort: true }
        && from.IdnHost.Equals(to.IdnHost, StringComparison.OrdinalIgnoreCase);

    /// <summary>Copies a request for another URL; its authorization only where both URLs may have it.</summary>
    public static HttpRequestMessage Copy(HttpRequestMessage request, Uri uri, Uri origin)
    {
        var copy = new HttpRequestMessage(request.Method, uri) { Content = request.Content };
        foreach ((string name, HeaderStringValues values) in request.Headers.NonValidated)
        {
            if (name != "Authorization" || SharesAuthorization(request.RequestUri!, uri))
                copy.Headers.TryAddWithoutValidation(name, values);
        }

        copy.Options.Set(Origin, origin);
        return copy;
    }

    /// <summary>The last response, its headers read and its body not.</summary>
    /// <exception cref="RefusedUrlException">A URL leads where we do not go.</exception>
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        Uri uri = request.RequestUri!;
        Uri origin = OriginOf(request);
        for (int hops = 0; ; hops++)
        {
            Check(uri, origin);
            request.Options.Set(Asked, uri);
            HttpRequestMessage hop = Copy(request, uri, origin);

            // Digests are of stored bytes: a content coding would only have to be undone, within limits of its own.
            hop.Headers.TryAddWithoutValidation("Accept-Encoding", "identity");
            hop.Headers.TryAddWithoutValidation("User-Agent", UserAgent);
            HttpResponseMessage response = await base.SendAsync(hop, cancellationToken).ConfigureAwait(false);

            // A body may hold secrets, and is not led on, unless it is a blob. A redirect of another status would make a
            // GET of what is sent.
            if (!IsRedirect(response.StatusCode) || request.Content is not (null or UploadContent)
                || (!IsRead(request.Method) && response.StatusCode is not (HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect)))
            {
                return response;
            }

            try
            {
                uri = Target(uri, response);
                RegistryLog.Redirected(options.Logger, request.RequestUri!.Host, uri.Host);
                if (hops == MaxRedirects)
                    throw new RefusedUrlException($"it led on {MaxRedirects + 1} times, expected at most {MaxRedirects}");
            }
            finally
            {
                response.Dispose();
            }
        }
    }

    /// <remarks>Outside of its API, a registry's own host leads to a store behind it, by a URL that says all. Some
    /// stores refuse a request that shows more, and docker shows no more.</remarks>
    private static bool SharesAuthorization(Uri from, Uri to) =>
        (SameAuthority(from, to) || IsUpgrade(from, to)) && (IsOfApi(to) || !IsOfApi(from));

    private static bool IsOfApi(Uri uri) => uri.AbsolutePath.StartsWith("/v2/", StringComparison.Ordinal);

    private static void Check(Uri uri, Uri origin)
    {
        if (uri.Scheme != Uri.UriSchemeHttps && (uri.Scheme != Uri.UriSchemeHttp || origin.Scheme != Uri.UriSchemeHttp))
            throw new RefusedUrlException($"it leads to '{uri.Scheme}:', expected {(origin.Scheme == Uri.UriSchemeHttp ? "http: or https:" : "https:")}");
        if (uri.UserInfo.Length > 0 || uri.Host.Length == 0)
            throw new RefusedUrlException("it leads to a URL with credentials or without a host");
        if (!HasName(uri))
            throw new RefusedUrlException("it leads to a host whose name cannot be written in the DNS");
    }

    /// <summary>Whether the DNS can have a URL's host. .NET finds that out only when asked for it.</summary>
    private static bool HasName(Uri uri)
    {
        try
        {
            return uri.IdnHost.Length > 0;
        }
        catch (UriFormatException)
        {
            return false;
        }
    }

    private static bool IsRedirect(HttpStatusCode status) => status
        is HttpStatusCode.MovedPermanently or HttpStatusCode.Found or HttpStatusCode.SeeOther or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect;

    private static bool IsRead(HttpMethod method) => method == HttpMethod.Get || method == HttpMethod.Head;

    /// <summary>Where an answer leads to.</summary>
    /// <remarks>The framework's own parsing of the header throws for some of what servers send.</remarks>
    /// <exception cref="RefusedUrlException">It says nothing that can be read.</exception>
    public static Uri Target(Uri from, HttpResponseMessage response)
    {
        if (response.Headers.NonValidated.TryGetValues("Location", out HeaderStringValues values) && values.Count == 1
            && Uri.TryCreate(from, values.First(), out Uri? target) && target.IsAbsoluteUri)
        {
            return AsWritten(values.First()) ?? target;
        }

        throw new RefusedUrlException($"it answered {(int)response.StatusCode} without a URL to go on to");
    }

    /// <summary>A URL with its path and query as they are written: the framework spells some escapes otherwise, and a
    /// signature may be of the letters. Null for a relative one, or one that must be escaped first.</summary>
    private static Uri? AsWritten(string location)
    {
        string text = location.Split('#')[0];
        var asWritten = new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true };
        return !text.AsSpan().ContainsAnyExceptInRange('!', '~') && Uri.TryCreate(text, asWritten, out Uri? uri)
            && (uri.Scheme == Uri.UriSchemeHttp || uri.Scheme == Uri.UriSchemeHttps) && uri.PathAndQuery.StartsWith('/')
                ? uri
                : null;
    }
}

/// <summary>A registry sent us where we do not go. Trying again changes nothing.</summary>
internal sealed class RefusedUrlException(string message) : Exception(message);
