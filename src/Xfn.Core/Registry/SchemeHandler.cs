using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using System.Security.Authentication;

namespace Xfn.Core.Registry;

/// <summary>Speaks HTTPS; HTTP to loopback and to insecure registries, unless they are found to speak TLS.</summary>
internal sealed class SchemeHandler(HttpMessageHandler inner, RegistryOptions options, Dialer dialer, EnvironmentProxy proxy) : DelegatingHandler(inner)
{
    private const int MaxRemembered = 1024;
    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(5);

    // Registries that may be spoken to in the clear, and were found to speak TLS.
    private readonly ConcurrentDictionary<string, bool> _secure = new(StringComparer.OrdinalIgnoreCase);

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        RegistryTarget target = RegistryTarget.Of(request);
        string authority = target.Endpoint.Authority;
        bool mayBePlain = RegistryEndpoint.IsLoopback(authority) || options.InsecureRegistries.Contains(authority);
        HttpResponseMessage? response = null;
        Exception? failure = null;
        if (mayBePlain && !_secure.ContainsKey(authority))
        {
            request.RequestUri = target.Url(Uri.UriSchemeHttp);
            try
            {
                response = await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
                if (request.RequestUri.Scheme == Uri.UriSchemeHttps && response.IsSuccessStatusCode)
                    Remember(authority);
            }
            catch (Exception e) when (e is HttpRequestException { InnerException: not RefusedUrlException } or IOException or TimeoutException)
            {
                failure = e;
            }

            // A server that speaks TLS answers HTTP with 400 or no HTTP: some close the connection, reset it, or wait.
            if (response is not (null or { StatusCode: HttpStatusCode.BadRequest }) || !await SpeaksTlsAsync(authority, cancellationToken).ConfigureAwait(false))
            {
                if (failure is not null)
                    ExceptionDispatchInfo.Throw(failure);
                return response!;
            }

            response?.Dispose();
        }

        request.RequestUri = target.Url(Uri.UriSchemeHttps);
        return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Whether TLS can be had. Whether to trust the certificate is for the request to find.</summary>
    private async Task<bool> SpeaksTlsAsync(string authority, CancellationToken cancellationToken)
    {
        var uri = new Uri("https://" + authority);
        if (proxy.IsAsked(uri))
            return false;
        bool certificateCame = false;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(HandshakeLimit);
        try
        {
            IPAddress[] addresses = await dialer.FindAsync(uri.IdnHost, limit.Token).ConfigureAwait(false);
            (Stream stream, _) = await dialer.ConnectAsync(addresses, uri.Port, limit.Token).ConfigureAwait(false);
            using var tls = new SslStream(stream, leaveInnerStreamOpen: false, (_, _, _, errors) => (certificateCame = true) && errors == SslPolicyErrors.None);
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = uri.IdnHost }, limit.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or AuthenticationException or SocketException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // A certificate that is not trusted is TLS all the same.
        }

        if (certificateCame)
            Remember(authority);
        return certificateCame;
    }

    private void Remember(string authority)
    {
        if (_secure.Count >= MaxRemembered)
            _secure.Clear();
        _secure[authority] = true;
    }
}
