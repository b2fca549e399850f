using System.Net;
using Xfn.Core.Registry;

namespace Xfn.Core;

/// <summary>What went wrong with a request to a registry, for programs: the <see cref="Exception.InnerException"/> of the error that says what to do
/// about it. <see cref="HttpRequestException.StatusCode"/> is what was answered, null when nothing was.</summary>
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

    /// <summary>How it was asked for: GET, HEAD or POST.</summary>
    public HttpMethod Method { get; }

    /// <summary>What was asked for: a URL of the registry, of a mirror, or of a token server. Without its query, which may hold secrets.</summary>
    public Uri Url { get; }

    /// <summary>The host, and port if any, that answered or that could not be reached: the URL's, or one that it led to.</summary>
    public string Host { get; }

    /// <summary>The code of the first error in the answer, such as <c>MANIFEST_UNKNOWN</c>; null where there is none.</summary>
    /// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes">distribution-spec, Error Codes</see>. Registries have others of their own.</remarks>
    public string? ErrorCode { get; }

    /// <summary>How often it was tried; 1 or more.</summary>
    public int Attempts { get; }

    private static Uri UrlOf(HttpRequestMessage request) => new(request.RequestUri!.GetLeftPart(UriPartial.Path));

    private static int AttemptsOf(HttpRequestMessage request) => request.Options.TryGetValue(RetryHandler.Attempts, out int attempts) ? attempts : 1;

    private static string Describe(HttpRequestMessage request, HttpStatusCode? status, string? errorCode) =>
        $"{request.Method} {UrlOf(request)}: {(status is null ? "no answer" : $"{(int)status} {errorCode}".TrimEnd())} from '{RedirectFollower.AskedOf(request).Authority}' (attempt {AttemptsOf(request)})";
}
