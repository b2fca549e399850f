using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Xfn.Core.Registry;

/// <summary>Turns what went wrong with HTTP into errors that say what to do.</summary>
internal static class RegistryErrors
{
    /// <summary>The error that a response with an unwanted status is.</summary>
    public static XfnException Status(RegistryRequest request, HttpResponseMessage response)
    {
        string what = Describe(request);
        string registry = request.Endpoint.Authority;
        int status = (int)response.StatusCode;
        return response.StatusCode switch
        {
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => new UnauthorizedException(
                $"cannot fetch {what}: registry '{registry}' answered {status}. Give credentials that may pull it, and check that the repository exists."),
            HttpStatusCode.NotFound when request.Stage == RunStage.Resolve => new ImageNotFoundException(
                $"cannot find {what}: registry '{registry}' does not have it. Check the name and the tag."),
            HttpStatusCode.TooManyRequests => new XfnException(
                request.Stage, $"cannot fetch {what}: registry '{registry}' answered 429, too many requests. Wait, give credentials, or use a mirror."),
            _ => new XfnException(
                request.Stage, $"cannot fetch {what}: registry '{registry}' answered {status}. Try again later or ask the registry's operator."),
        };
    }

    /// <summary>The error that a failed exchange is.</summary>
    public static XfnException Failure(RegistryRequest request, Exception e)
    {
        string registry = request.Endpoint.Authority;
        (string found, string remedy) = Causes(e).Select(Explain).FirstOrDefault(x => x.Found is not null) is { Found: { } f, Remedy: { } r }
            ? (f, r)
            : (e.Message.TrimEnd('.'), "Check that it is a registry and try again.");
        return new XfnException(request.Stage, $"cannot reach registry '{registry}' for {Describe(request)}: {found}. {remedy}", e);
    }

    private static (string? Found, string? Remedy) Explain(Exception e) => e switch
    {
        SocketException { SocketErrorCode: SocketError.ConnectionRefused } => ("connection refused", "Check the port, and that the registry runs."),
        SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData } =>
            ("its name cannot be resolved", "Check the name and this machine's DNS, or set HTTPS_PROXY."),
        SocketException s => (s.Message, "Check the network between this machine and the registry."),
        AuthenticationException a => (
            "the TLS handshake failed: " + a.Message.TrimEnd('.'),
            "Add its certificate authority, or list it among the insecure registries if it speaks plain HTTP."),
        _ => default,
    };

    private static IEnumerable<Exception> Causes(Exception e)
    {
        for (Exception? cause = e; cause is not null; cause = cause.InnerException)
            yield return cause;
    }

    private static string Describe(RegistryRequest request) => request.Path.StartsWith("blobs/", StringComparison.Ordinal)
        ? $"blob '{request.Path["blobs/".Length..]}' of image '{request.Reference}'"
        : $"image '{request.Reference}'";
}
