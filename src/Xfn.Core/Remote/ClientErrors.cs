using Grpc.Core;

namespace Xfn.Core.Remote;

/// <summary>Where a run that failed may be offered again.</summary>
internal enum RetryScope
{
    /// <summary>A server has answered, and for good.</summary>
    None,

    /// <summary>No server has taken it.</summary>
    Anywhere,

    /// <summary>This server did not take it; another may.</summary>
    Elsewhere,

    /// <summary>Only if its function may run twice.</summary>
    IfMayRunTwice,
}

/// <summary>Says what a call that failed means to its caller.</summary>
internal static class ClientErrors
{
    public static (XfnException Error, RetryScope Scope) From(RpcException failure, bool sent, string servers)
    {
        if (WireErrors.FromRpc(failure.Status, failure.Trailers) is { } told)
        {
            return (told, failure.StatusCode switch
            {
                _ when told.IsTransient => RetryScope.Elsewhere,

                // One machine that lacks something ought not to fail its share of a fleet's runs.
                _ when told is ContainerEnvironmentException { Stage: < RunStage.Start } => RetryScope.Elsewhere,

                // So servers call what failed before a function was started.
                StatusCode.Unavailable => RetryScope.Elsewhere,

                // And so what they killed as they stopped.
                StatusCode.Cancelled => RetryScope.IfMayRunTwice,
                _ => RetryScope.None,
            });
        }

        Exception? cause = failure.Status.DebugException;
        string found = Found(failure.Status);
        if (IsSilence(cause))
        {
            return (
                new ServerUnavailableException(
                    false,
                    $"cannot call server '{servers}': it closed the connection without a word, as it does to callers whom it does not allow. Call it as its own user, or allow this one (the server's option AllowedUids); its log says why.",
                    failure),
                RetryScope.Anywhere);
        }

        switch (failure.StatusCode)
        {
            case StatusCode.Unavailable or StatusCode.Internal or StatusCode.Unknown or StatusCode.ResourceExhausted or StatusCode.Cancelled when cause is not null && IsUntouched(cause):
            // A connection that was not made in time is a call that was cancelled.
            case StatusCode.Unavailable or StatusCode.Internal or StatusCode.Unknown or StatusCode.Cancelled when !sent || IsOfConnecting(cause):
                return (new ServerUnavailableException(false, $"cannot reach server '{servers}': {found}. Check the address, and that an xfn server listens there.", failure), RetryScope.Anywhere);

            case StatusCode.DeadlineExceeded:
                return (TooLate(failure, sent, servers), RetryScope.None);

            // Names of a broken connection, which depend on the moment. A server's own errors come without a cause.
            case StatusCode.Unavailable:
            case StatusCode.Internal or StatusCode.Unknown or StatusCode.Cancelled or StatusCode.ResourceExhausted when cause is not null:
            case StatusCode.Cancelled:
                return (
                    new ServerUnavailableException(
                        true,
                        $"cannot get the answer of server '{servers}': {found}. The function may have been started. Try again if it may run twice, or let that be done (option RetryLostRuns).",
                        failure),
                    RetryScope.IfMayRunTwice);

            case StatusCode.ResourceExhausted:
                return (
                    new XfnException(RunStage.Run, $"cannot pass a message to or from server '{servers}': {found}. Raise MaxStdioBytes, on the side that has the lower one.", failure),
                    RetryScope.None);
            case StatusCode.Unauthenticated or StatusCode.PermissionDenied:
                return (new XfnException(RunStage.Validate, $"cannot call server '{servers}': it refuses this caller ({failure.StatusCode}: {found}).", failure), RetryScope.None);
            default:
                return (new XfnException(RunStage.Run, $"cannot use the answer of server '{servers}': {failure.StatusCode}, {found}. Is it an xfn server?", failure), RetryScope.None);
        }
    }

    /// <summary>A server knows no settings of containers.</summary>
    public static InvalidRequestException NoSettings(RpcException failure, RunFunctionRequest request, string servers) => new(
        $"cannot run image '{request.Image}' with {string.Join(", ", WireSettings.NamesOf(request.Container!))} on server '{servers}': it lacks {Protocol.RunService.Descriptor.FullName}, as older servers do."
        + " Leave the settings out, or have a newer xfn there.",
        failure);

    public static ServerUnavailableException TooLate(RpcException failure, bool sent, string servers) =>
        new(sent, $"cannot wait for server '{servers}' any longer: the run's timeout and the allowance for its pull (option PullTimeAllowance) have passed. Raise either.", failure);

    /// <summary>Whether there was no connection yet. The request may have been sent before, but was refused.</summary>
    private static bool IsOfConnecting(Exception? cause) => cause is HttpRequestException
    {
        HttpRequestError: HttpRequestError.NameResolutionError or HttpRequestError.ConnectionError or HttpRequestError.SecureConnectionError or HttpRequestError.VersionNegotiationError,
    };

    /// <summary>Whether the server said that it had not looked at the request, which may have been sent. HttpClient
    /// fails those with the error of a GOAWAY: NO_ERROR where the server stops, ENHANCE_YOUR_CALM where a connection
    /// gave up too many calls; that and REFUSED_STREAM refuse single requests too. See
    /// <see href="https://www.rfc-editor.org/rfc/rfc9113#section-6.8">RFC 9113, sections 6.8 and 7</see>.</summary>
    private static bool IsUntouched(Exception? cause)
    {
        const long noError = 0, refusedStream = 7, enhanceYourCalm = 11;
        while (cause is not (null or HttpProtocolException))
            cause = cause.InnerException;
        return cause is HttpProtocolException { ErrorCode: noError or refusedStream or enhanceYourCalm };
    }

    private static bool IsSilence(Exception? cause)
    {
        while (cause is not (null or SilentServerException))
            cause = cause.InnerException;
        return cause is not null;
    }

    /// <summary>The innermost words: those around them are the libraries'.</summary>
    private static string Found(Status status)
    {
        if (status.DebugException is not { } cause)
            return status.Detail.TrimEnd('.');
        while (cause.InnerException is { } inner)
            cause = inner;
        return cause.Message.TrimEnd('.');
    }
}
