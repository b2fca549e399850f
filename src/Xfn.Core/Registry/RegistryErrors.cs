using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;

namespace Xfn.Core.Registry;

/// <summary>Turns what went wrong with HTTP into errors that say what to do.</summary>
internal static class RegistryErrors
{
    private const string NoTls = "Check that it speaks HTTPS, or list it among the insecure registries if it speaks plain HTTP.";

    /// <summary>The error that a response with an unwanted status is; reads what it says.</summary>
    public static async Task<XfnException> StatusAsync(HttpRequestMessage request, HttpResponseMessage response, TimeProvider time, CancellationToken cancellationToken)
    {
        RegistryTarget target = RegistryTarget.Of(request);
        request.Options.TryGetValue(CredentialSearch.Key, out CredentialSearch? search);
        ServerWords words = await WordsAsync(request, response, time, cancellationToken).ConfigureAwait(false);
        var cause = new RegistryException(request, response.StatusCode, words.Code);
        string cannot = $"cannot {(target.IsPushed ? "push" : "fetch")} {target}{Tries(cause)}: {Who(request, target)}";
        int status = (int)response.StatusCode;
        return response.StatusCode switch
        {
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => new UnauthorizedException(
                $"{cannot} answered {status}{words.Quote}{search?.Describe()}. "
                + (search is { HasFound: true } ? "Check that these credentials" : "Give credentials that")
                + (target.IsPushed ? $" may push to '{target.Repository}'."
                    : search is { HasFound: true } ? " may pull it, and that the repository exists." : " may pull it, and check that the repository exists."),
                cause),
            HttpStatusCode.NotFound when target.IsPushed => Other($"answered 404{words.Quote}. Check the repository's name, and whether it must be made first."),
            HttpStatusCode.RequestEntityTooLarge => Other($"answered 413, too large{words.Quote}. Ask the operator of the registry, or of the proxy before it, to allow larger requests."),
            HttpStatusCode.NotFound when target.IsManifest => new ImageNotFoundException(
                $"cannot find {target}: {Who(request, target)} does not have it{words.Quote}{(search is null ? "" : ", or shows it to others only")}{search?.Describe()}. "
                + $"Check the name and the tag{(search is null ? "" : ", and whether they are for these credentials to see")}.",
                cause),
            HttpStatusCode.Accepted => Other($"answered 202, that it is not ready yet{Wait()}. Try again later."),
            HttpStatusCode.TooManyRequests => Other($"answered 429, too many requests{words.Quote}{Wait()}. Wait, give credentials, or use a mirror."),
            HttpStatusCode.ProxyAuthenticationRequired => new XfnException(
                target.Stage,
                $"cannot {(target.IsPushed ? "push" : "fetch")} {target}: the proxy before registry '{target.Endpoint.Authority}' answered 407. Write its credentials into HTTPS_PROXY, or list the registry in NO_PROXY.",
                cause),
            _ => Other($"answered {status}{words.Quote}{Wait()}. Try again later or ask the registry's operator."),
        };

        XfnException Other(string answered) => new(target.Stage, $"{cannot} {answered}", cause) { IsTransient = RetryHandler.IsPassing(cause) };
        string Wait() => RetryHandler.RetryAfter(response, time) is { } wait ? $", to be asked again after {Math.Ceiling(wait.TotalSeconds)} seconds" : "";
    }

    public static XfnException Failure(HttpRequestMessage request, Exception e)
    {
        RegistryTarget target = RegistryTarget.Of(request);
        var cause = new RegistryException(request, cause: e);
        (string found, string remedy) = Explain(e);
        string who = Causes(e).Any(c => c is RefusedUrlException) ? $"registry '{target.Endpoint.Authority}'" : Who(request, target);
        return new XfnException(target.Stage, $"cannot reach {who} for {target}{Tries(cause)}: {found}. {remedy}", cause) { IsTransient = RetryHandler.IsPassing(cause) };
    }

    public static (string Found, string Remedy) Explain(Exception e) => Causes(e).Select(ExplainOne).FirstOrDefault(x => x is not null)
        ?? (Causes(e).Any(c => c is HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError })
            ? ("the TLS handshake broke off", NoTls)
            : (e.Message.TrimEnd('.'), "Check that it is a registry, and try again."));

    private static (string Found, string Remedy)? ExplainOne(Exception e) => e switch
    {
        RefusedUrlException r => (r.Message, "Ask the registry's operator, or use another registry."),
        TimeoutException t => (t.Message, "Check the network, or try again later."),
        UntrustedCertificateException u => (u.Message, "Add its certificate authority (option Registry:CertificateAuthoritiesFile, CA_BUNDLE_PATH, certs.d), or correct the host's name."),
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

    /// <summary>The registry's reason for a refusal. Other hosts may repeat a signed URL, and are not quoted.</summary>
    private static async Task<ServerWords> WordsAsync(HttpRequestMessage request, HttpResponseMessage response, TimeProvider time, CancellationToken cancellationToken)
    {
        if (!RedirectFollower.SameAuthority(RedirectFollower.AskedOf(request), RegistryTarget.Of(request).Url(request.RequestUri!.Scheme)))
            return ServerWords.None;
        string? shown = request.Headers.Authorization?.Parameter;
        string[] secrets = [shown ?? "", RegistryCredentials.From(new ImagePullAuth { Auth = shown }, out _)?.Password ?? ""];
        return await ServerWords.ReadAsync(response, time, secrets, cancellationToken).ConfigureAwait(false);
    }

    private static string Who(HttpRequestMessage request, RegistryTarget target) =>
        RedirectFollower.AskedOf(request) is var asked && RedirectFollower.SameAuthority(asked, target.Url(asked.Scheme))
            ? $"registry '{target.Endpoint.Authority}'"
            : $"host '{asked.Authority}', to which registry '{target.Endpoint.Authority}' leads,";

    private static string Tries(RegistryException cause) => cause.Attempts > 1 ? $" in {cause.Attempts} tries" : "";

    private static IEnumerable<Exception> Causes(Exception e)
    {
        for (Exception? cause = e; cause is not null; cause = cause.InnerException)
            yield return cause;
    }
}
