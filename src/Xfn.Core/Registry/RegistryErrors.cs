using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;

namespace Xfn.Core.Registry;

/// <summary>Turns what went wrong with HTTP into errors that say what to do.</summary>
internal static class RegistryErrors
{
    private const string NoTls = "Check that it speaks HTTPS, or list it among the insecure registries if it speaks plain HTTP.";

    /// <summary>The error that a response with an unwanted status is.</summary>
    public static XfnException Status(RegistryRequest request, HttpResponseMessage response, TimeProvider time)
    {
        string what = Describe(request);
        string registry = request.Endpoint.Authority;
        int status = (int)response.StatusCode;
        CredentialSearch? search = null;
        response.RequestMessage?.Options.TryGetValue(CredentialSearch.Key, out search);
        string? words = null;
        response.RequestMessage?.Options.TryGetValue(ServerWords.Key, out words);
        return response.StatusCode switch
        {
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => new UnauthorizedException(
                $"cannot fetch {what}: registry '{registry}' answered {status}{words}{search?.Describe()}. "
                + (search is { HasFound: true }
                    ? "Check that these credentials may pull it, and that the repository exists."
                    : "Give credentials that may pull it, and check that the repository exists.")),
            HttpStatusCode.NotFound when request.Stage == RunStage.Resolve => new ImageNotFoundException(
                $"cannot find {what}: registry '{registry}' does not have it{words}{(search is null ? "" : ", or shows it to others only")}{search?.Describe()}. "
                + $"Check the name and the tag{(search is null ? "" : ", and whether they are for these credentials to see")}."),
            HttpStatusCode.Accepted => new XfnException(
                request.Stage, $"cannot fetch {what}: registry '{registry}' answered 202, that it is not ready yet{Wait(response, time)}. Try again later."),
            HttpStatusCode.TooManyRequests => new XfnException(
                request.Stage, $"cannot fetch {what}: registry '{registry}' answered 429, too many requests{words}{Wait(response, time)}. Wait, give credentials, or use a mirror."),
            HttpStatusCode.ProxyAuthenticationRequired => new XfnException(
                request.Stage, $"cannot fetch {what}: the proxy before registry '{registry}' answered 407. Write its credentials into HTTPS_PROXY, or list the registry in NO_PROXY."),
            _ => new XfnException(
                request.Stage, $"cannot fetch {what}: registry '{registry}' answered {status}{words}{Wait(response, time)}. Try again later or ask the registry's operator."),
        };
    }

    /// <summary>The error that a failed exchange is.</summary>
    public static XfnException Failure(RegistryRequest request, Exception e)
    {
        string registry = request.Endpoint.Authority;
        (string found, string remedy) = Explain(e);
        return new XfnException(request.Stage, $"cannot reach registry '{registry}' for {Describe(request)}: {found}. {remedy}", e);
    }

    /// <summary>What was found, and what to do about it.</summary>
    public static (string Found, string Remedy) Explain(Exception e) => Causes(e).Select(ExplainOne).FirstOrDefault(x => x is not null)
        ?? (Causes(e).Any(c => c is HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError })
            ? ("the TLS handshake broke off", NoTls)
            : (e.Message.TrimEnd('.'), "Check that it is a registry, and try again."));

    private static (string Found, string Remedy)? ExplainOne(Exception e) => e switch
    {
        RefusedUrlException r => (r.Message, "Ask the registry's operator, or use another registry."),
        TimeoutException t => (t.Message, "Check the network, or try again later."),
        UntrustedCertificateException u => (u.Message, "Add its certificate authority (WithCertificateAuthority, CA_BUNDLE_PATH, certs.d), or correct the host's name."),
        AuthenticationException or CryptographicException when WantsCertificate(e) =>
            ("it wants this machine's certificate, and takes none or not the one that it was shown", "Put client.cert and client.key into certs.d/HOST:PORT below /etc/containers or ~/.config/containers."),
        AuthenticationException a => ("the TLS handshake failed: " + a.Message.TrimEnd('.'), NoTls),
        SocketException { SocketErrorCode: SocketError.ConnectionRefused } => ("connection refused", "Check the port, and that it runs."),
        SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData } =>
            ("its name cannot be resolved", "Check the name and this machine's DNS, or set HTTPS_PROXY."),
        SocketException s => (s.Message, "Check the network between this machine and it."),
        HttpRequestException { HttpRequestError: HttpRequestError.ProxyTunnelError } h => (h.Message.TrimEnd('.'), "Check HTTPS_PROXY, its credentials, and NO_PROXY."),
        _ => null,
    };

    /// <remarks>The alerts of TLS, as OpenSSL tells them. In TLS 1.3 they come after the handshake.</remarks>
    private static bool WantsCertificate(Exception e) => Causes(e).Any(c => c is CryptographicException
        && (c.Message.Contains("certificate required", StringComparison.OrdinalIgnoreCase) || c.Message.Contains("alert bad certificate", StringComparison.OrdinalIgnoreCase)));

    private static string Wait(HttpResponseMessage response, TimeProvider time) =>
        RetryPolicy.RetryAfter(response, time) is { } wait ? $", to be asked again after {Math.Ceiling(wait.TotalSeconds)} seconds" : "";

    private static IEnumerable<Exception> Causes(Exception e)
    {
        for (Exception? cause = e; cause is not null; cause = cause.InnerException)
            yield return cause;
    }

    private static string Describe(RegistryRequest request) => request.Path.StartsWith("blobs/", StringComparison.Ordinal)
        ? $"blob '{request.Path["blobs/".Length..]}' of image '{request.Reference}'"
        : $"image '{request.Reference}'";
}
