using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using System.Security.Authentication;
using Polly;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>Sends requests to registries: authorized, redirected, tried again.</summary>
internal sealed class RegistryTransport : IDisposable
{
    private const int MaxRemembered = 1024;
    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(5);

    private readonly RegistryOptions _options;
    private readonly Dialer _dialer;
    private readonly RegistryClients _clients;
    private readonly HttpExchanger _exchanger;
    private readonly Authenticator _authenticator;
    private readonly ResiliencePipeline<HttpResponseMessage> _retry;

    // Registries that may be spoken to in the clear, and were found to speak TLS.
    private readonly ConcurrentDictionary<string, bool> _secure = new(StringComparer.OrdinalIgnoreCase);

    public RegistryTransport(RegistryOptions options, Dialer dialer)
    {
        _options = options;
        _dialer = dialer;
        _clients = new RegistryClients(options, dialer);
        _exchanger = new HttpExchanger(_clients, options);
        _retry = RetryPolicy.Create(options);
        _authenticator = new Authenticator(_exchanger, new TokenClient(_exchanger, options, _retry), new CredentialSources(options), options);
    }

    /// <summary>The response; its body is read if the request is for a document, and else must be opened with <see cref="OpenBodyAsync"/>.</summary>
    /// <exception cref="XfnException">There was none.</exception>
    public async Task<HttpResponseMessage> SendAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        // Of a mirror's faults the registry itself is the remedy.
        ResiliencePipeline<HttpResponseMessage> retry = request.Endpoint.IsMirror ? ResiliencePipeline<HttpResponseMessage>.Empty : _retry;
        ResilienceContext context = ResilienceContextPool.Shared.Get(request.Endpoint.Authority, cancellationToken);
        try
        {
            return await retry.ExecuteAsync(
                static async (c, state) => await state.Self.SendOnceAsync(state.Request, c.CancellationToken).ConfigureAwait(false),
                context,
                (Self: this, Request: request)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException or RefusedUrlException)
        {
            throw RegistryErrors.Failure(request, e);
        }
        finally
        {
            ResilienceContextPool.Shared.Return(context);
        }
    }

    /// <summary>Opens a layer's own URL, without credentials and by the rules for hosts that others name.</summary>
    public async Task<HttpResponseMessage> SendForeignAsync(RegistryRequest request, Uri uri, CancellationToken cancellationToken)
    {
        Uri registry = request.Endpoint.Url(Scheme(request.Endpoint.Authority, out _), request.Reference.Repository, request.Path);
        var exchange = new HttpExchange { Method = HttpMethod.Get, Uri = uri, Registry = registry, AddHeaders = request.AddHeaders };
        try
        {
            return await _exchanger.SendAsync(exchange, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException or RefusedUrlException)
        {
            throw RegistryErrors.Failure(request, e);
        }
    }

    /// <summary>A body that must make progress; its disposal is the response's.</summary>
    public Task<Stream> OpenBodyAsync(RegistryRequest request, HttpResponseMessage response, CancellationToken cancellationToken) =>
        WrapAsync(response, response, cancellationToken);

    public void Dispose() => _clients.Dispose();

    /// <remarks>A Content-Encoding is not looked at. Stores have layers labelled so that are compressed by themselves,
    /// and the digest tells whether the bytes are the right ones.</remarks>
    private async Task<Stream> WrapAsync(HttpResponseMessage response, IDisposable owner, CancellationToken cancellationToken)
    {
        Stream body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        return new ProgressStream(body, owner, _options.NoProgressTimeout, _options.TimeProvider);
    }

    private async Task<HttpResponseMessage> SendOnceAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        string scheme = Scheme(request.Endpoint.Authority, out bool guessed);
        HttpResponseMessage? response = null;
        Exception? failure = null;
        try
        {
            response = await _authenticator.SendAsync(request, Url(request, scheme), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (guessed && e is HttpRequestException { InnerException: not RefusedUrlException } or IOException or TimeoutException)
        {
            failure = e;
        }

        // What a server that speaks TLS says to plain HTTP: 400, or nothing that is HTTP. Some close the connection,
        // some reset it, some wait.
        if (guessed && (response is null or { StatusCode: HttpStatusCode.BadRequest }) && await SpeaksTlsAsync(request.Endpoint.Authority, cancellationToken).ConfigureAwait(false))
        {
            response?.Dispose();
            response = await _authenticator.SendAsync(request, Url(request, "https"), cancellationToken).ConfigureAwait(false);
        }

        if (response is null)
            ExceptionDispatchInfo.Throw(failure!);
        if (!response.IsSuccessStatusCode && request.Method != HttpMethod.Head)
            await KeepWordsAsync(request, response, cancellationToken).ConfigureAwait(false);
        if (request.DocumentLimit is { } limit && response.IsSuccessStatusCode && request.Method != HttpMethod.Head)
            await ReadDocumentAsync(request, response, limit, cancellationToken).ConfigureAwait(false);
        return response;
    }

    /// <summary>Keeps what the registry says of its refusal. A host that it led to may have been sent a signed URL, and is not quoted.</summary>
    private async Task KeepWordsAsync(RegistryRequest request, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        if (response.RequestMessage is not { RequestUri: { } asked } message || !RegistryClients.SameAuthority(asked, Url(request, asked.Scheme)))
            return;
        string? shown = message.Headers.Authorization?.Parameter;
        string[] secrets = [shown ?? "", RegistryCredentials.From(new ImagePullAuth { Auth = shown }, out _)?.Password ?? ""];
        message.Options.Set(ServerWords.Key, await ServerWords.ReadAsync(response, _options.TimeProvider, secrets, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Whether there is a TLS handshake to be had. Whether its certificate is one to trust is for the request to find.</summary>
    private async Task<bool> SpeaksTlsAsync(string authority, CancellationToken cancellationToken)
    {
        var uri = new Uri("https://" + authority);
        if (_clients.AsksProxy(uri))
            return false;
        bool certificateCame = false;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(HandshakeLimit);
        try
        {
            IPAddress[] addresses = await _dialer.FindAsync(uri.IdnHost, limit.Token).ConfigureAwait(false);
            (Stream stream, _) = await _dialer.ConnectAsync(addresses, uri.Port, limit.Token).ConfigureAwait(false);
            using var tls = new SslStream(stream, leaveInnerStreamOpen: false, (_, _, _, errors) => (certificateCame = true) && errors == SslPolicyErrors.None);
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = uri.IdnHost }, limit.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or AuthenticationException or SocketException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // A certificate that is not trusted is TLS all the same.
        }

        if (!certificateCame)
            return false;
        if (_secure.Count >= MaxRemembered)
            _secure.Clear();
        return _secure[authority] = true;
    }

    /// <param name="authority">The registry.</param>
    /// <param name="guessed">Whether TLS is tried next.</param>
    private string Scheme(string authority, out bool guessed)
    {
        guessed = (RegistryEndpoint.IsLoopback(authority) || _options.InsecureRegistries.Contains(authority)) && !_secure.ContainsKey(authority);
        return guessed ? "http" : "https";
    }

    private static Uri Url(RegistryRequest request, string scheme) => request.Endpoint.Url(scheme, request.Reference.Repository, request.Path);

    /// <summary>Reads the body here, where what breaks off is tried again.</summary>
    private async Task ReadDocumentAsync(RegistryRequest request, HttpResponseMessage response, int limit, CancellationToken cancellationToken)
    {
        MediaTypeHeaderValue? type = response.Content.Headers.ContentType;
        bool isCoded = response.Content.Headers.ContentEncoding.Any(e => !e.Equals("identity", StringComparison.OrdinalIgnoreCase));
        Stream stream = await WrapAsync(response, response.Content, cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            if (type?.MediaType is "text/html")
                throw new XfnException(request.Stage, $"cannot read what '{request.Endpoint.Authority}' sent for image '{request.Reference}': it is a web page. Check that it is a registry.");
            byte[] content = await BoundedContent.ReadAsync(stream, limit, cancellationToken).ConfigureAwait(false)
                ?? throw new InvalidImageException(
                    request.Stage, $"cannot fetch image '{request.Reference}': its manifest has more than {limit} bytes. Build the image with a smaller one.");
            if (isCoded && !content.AsSpan().TrimStart(" \t\r\n"u8).StartsWith("{"u8))
            {
                throw new InvalidImageException(
                    request.Stage,
                    $"cannot read what '{request.Endpoint.Authority}' sent for image '{request.Reference}': it was compressed on the way, which was not asked for. "
                    + "Ask the operator of the registry, or of the proxy before it.");
            }

            response.Content = new ByteArrayContent(content) { Headers = { ContentType = type } };
        }
    }
}
