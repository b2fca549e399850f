using Microsoft.Extensions.Logging;

namespace Xfn.Core.Registry;

/// <summary>What fetchers log: hosts and paths, never a query string or a header, which may hold secrets.</summary>
internal static partial class RegistryLog
{
    [LoggerMessage(EventId = 200, Level = LogLevel.Debug, Message = "registry '{Host}' leads to host '{Target}'")]
    public static partial void Redirected(ILogger logger, string host, string target);

    [LoggerMessage(EventId = 201, Level = LogLevel.Warning, Message = "registry '{Host}' failed in passing ({Found}), trying again in {Delay}")]
    public static partial void Retrying(ILogger logger, string host, string found, TimeSpan delay);

    [LoggerMessage(EventId = 202, Level = LogLevel.Warning, Message = "mirror '{Mirror}' of registry '{Registry}' is passed over: {Found}")]
    public static partial void MirrorFailed(ILogger logger, string mirror, string registry, string found);

    [LoggerMessage(EventId = 203, Level = LogLevel.Debug, Message = "token for registry '{Host}', scope '{Scope}', from '{Realm}', good for {Lifetime}")]
    public static partial void TokenFetched(ILogger logger, string host, string scope, string realm, TimeSpan lifetime);

    [LoggerMessage(EventId = 204, Level = LogLevel.Debug, Message = "credentials for registry '{Host}' come from {Source}")]
    public static partial void CredentialsFound(ILogger logger, string host, string source);

    [LoggerMessage(EventId = 205, Level = LogLevel.Warning, Message = "credentials in {Place} are passed over: {Found}")]
    public static partial void CredentialsPassedOver(ILogger logger, string place, string found);

    [LoggerMessage(EventId = 206, Level = LogLevel.Warning, Message = "the host program failed to give credentials for registry '{Host}'")]
    public static partial void CallbackFailed(ILogger logger, string host, Exception exception);

    [LoggerMessage(EventId = 207, Level = LogLevel.Warning, Message = "registry '{Host}' is passed over, and its mirrors are asked again: {Found}")]
    public static partial void RegistryFailed(ILogger logger, string host, string found);

    [LoggerMessage(EventId = 208, Level = LogLevel.Warning, Message = "upload of blob '{Blob}' to registry '{Host}' broke off, and is taken up again: {Found}")]
    public static partial void UploadBrokeOff(ILogger logger, string host, string blob, string found);
}
