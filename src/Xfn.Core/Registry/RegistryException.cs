using System.Net;
using Xfn.Core.Registry;

namespace Xfn.Core;

/// <summary>A request to a registry that failed. It is the <see cref="Exception.InnerException"/> of an
/// <see cref="XfnException"/>, which says what to do about it. <see cref="HttpRequestException.StatusCode"/> is the
/// answer's status, or null when there was none.</summary>
public sealed class RegistryException : HttpRequestException
{
    internal RegistryException(HttpRequestMessage request, HttpStatusCode? status = null, string? errorCode = null, Exception? cause = null)
        : base((cause as HttpRequestException)?.HttpRequestError ?? HttpRequestError.Unknown, Describe(request, status, errorCode), cause, status)
    {
        Method = request.Method;
        Url = UrlOf(request);
        Host = RedirectFollower.AskedOf(request).Authority;
        ErrorCode = errorCode;
        Attempts = AttemptsOf(request);
    }

    /// <summary>The method of the request: GET, HEAD or POST.</summary>
    public HttpMethod Method { get; }

    /// <summary>The URL of the request, at the registry, a mirror, or a token server. Its query is left out, because it
    /// may hold secrets.</summary>
    public Uri Url { get; }

    /// <summary>The host, with its port if any, that answered or could not be reached: the URL's, or one that it led
    /// to.</summary>
    public string Host { get; }

    /// <summary>The code of the first error in the answer, such as <c>MANIFEST_UNKNOWN</c>; null for none.</summary>
    /// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes">
    /// distribution-spec, Error Codes</see>. Registries have others of their own.</remarks>
    public string? ErrorCode { get; }

    /// <summary>How often the request was sent. At least 1.</summary>
    public int Attempts { get; }

    private static Uri UrlOf(HttpRequestMessage request) => new(request.RequestUri!.GetLeftPart(UriPartial.Path));

    private static int AttemptsOf(HttpRequestMessage request) => request.Options.TryGetValue(RetryHandler.Attempts, out int attempts) ? attempts : 1;

    private static string Describe(HttpRequestMessage request, HttpStatusCode? status, string? errorCode) =>
        $"{request.Method} {UrlOf(request)}: {(status is null ? "no answer" : $"{(int)status} {errorCode}".TrimEnd())} from '{RedirectFollower.AskedOf(request).Authority}' (attempt {AttemptsOf(request)})";
}
