using System.Net;
using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>A request to send, hop by hop.</summary>
internal sealed record HttpExchange
{
    /// <summary>GET, HEAD or POST.</summary>
    public required HttpMethod Method { get; init; }

    /// <summary>Where to begin.</summary>
    public required Uri Uri { get; init; }

    /// <summary>The registry, which the caller named: the one host that is asked without further ado.</summary>
    public required Uri Registry { get; init; }

    /// <summary>Adds the headers that every hop may see.</summary>
    public required Action<HttpRequestMessage> AddHeaders { get; init; }

    /// <summary>Credentials for the host of <see cref="Uri"/>, and for no other.</summary>
    public AuthenticationHeaderValue? Authorization { get; init; }

    /// <summary>Makes the body of a POST. It may hold secrets, so a redirect of it is not followed.</summary>
    public Func<HttpContent>? Content { get; init; }
}

/// <summary>Sends a request and follows where it leads.</summary>
internal sealed class HttpExchanger(RegistryClients clients, RegistryOptions options)
{
    /// <summary>What is said of an answer that is malformed.</summary>
    public const string NoHttp = "its answer is not HTTP";

    private const int MaxRedirects = 10;

    /// <summary>The last response, its headers read and its body not.</summary>
    /// <exception cref="RefusedUrlException">A redirect leads where we do not go.</exception>
    /// <exception cref="HttpRequestException">The exchange failed.</exception>
    /// <exception cref="TimeoutException">There was no answer in time.</exception>
    public async Task<HttpResponseMessage> SendAsync(HttpExchange exchange, CancellationToken cancellationToken)
    {
        Uri uri = exchange.Uri;
        for (int hops = 0; ; hops++)
        {
            HttpResponseMessage response = await SendOnceAsync(exchange, uri, cancellationToken).ConfigureAwait(false);
            if (exchange.Content is not null || !IsRedirect(response.StatusCode))
                return response;

            try
            {
                uri = Target(uri, response);
                RegistryLog.Redirected(options.Logger, exchange.Uri.Host, uri.Host);
                if (hops == MaxRedirects)
                    throw new RefusedUrlException($"it led on {MaxRedirects + 1} times, expected at most {MaxRedirects}");
            }
            finally
            {
                response.Dispose();
            }
        }
    }

    private async Task<HttpResponseMessage> SendOnceAsync(HttpExchange exchange, Uri uri, CancellationToken cancellationToken)
    {
        HttpClient client = clients.For(uri, exchange.Registry);
        using var message = new HttpRequestMessage(exchange.Method, uri) { Content = exchange.Content?.Invoke() };
        exchange.AddHeaders(message);
        if (RegistryClients.SameAuthority(uri, exchange.Uri))
            message.Headers.Authorization = exchange.Authorization;

        using var timeout = new CancellationTokenSource(options.NoProgressTimeout, options.TimeProvider);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timeout.Token);
        try
        {
            return await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, linked.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException { InnerException: OperationCanceledException } && !cancellationToken.IsCancellationRequested)
        {
            // The framework says of a connection that is not made in time that something was cancelled.
            throw new TimeoutException(
                timeout.IsCancellationRequested ? $"no answer within {options.NoProgressTimeout.TotalSeconds:0.#} seconds" : $"no connection within {options.ConnectTimeout.TotalSeconds:0.#} seconds", e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.InvalidResponse)
        {
            // The framework quotes the answer, and a server that was sent a secret may answer with it.
            throw new HttpRequestException(HttpRequestError.InvalidResponse, NoHttp);
        }
    }

    private static bool IsRedirect(HttpStatusCode status) => status
        is HttpStatusCode.MovedPermanently or HttpStatusCode.Found or HttpStatusCode.SeeOther or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect;

    /// <remarks>The framework's own parsing of the header throws for some of what servers send.</remarks>
    private static Uri Target(Uri from, HttpResponseMessage response)
    {
        if (response.Headers.NonValidated.TryGetValues("Location", out HeaderStringValues values) && values.Count == 1
            && Uri.TryCreate(from, values.First(), out Uri? target) && target.IsAbsoluteUri)
        {
            return AsWritten(values.First()) ?? target;
        }

        throw new RefusedUrlException($"it answered {(int)response.StatusCode} without a URL to go on to");
    }

    /// <summary>A URL with its path and query as they are written: the framework spells some escapes otherwise, and a
    /// signature may be of the letters. Null for a relative one, or one that
    /// must be escaped first.</summary>
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
