using Microsoft.Extensions.Logging;

namespace Xfn.Core.Server;

/// <summary>What a server logs.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(101, LogLevel.Information, "Serving on {Network} '{Address}'.")]
    public static partial void Serving(ILogger logger, string network, string address);

    [LoggerMessage(102, LogLevel.Information, "Stopping: {Calls} calls may go on for {DrainTime}.")]
    public static partial void Draining(ILogger logger, int calls, TimeSpan drainTime);

    [LoggerMessage(103, LogLevel.Warning, "Killing the functions of {Calls} calls that had not ended.")]
    public static partial void Killing(ILogger logger, int calls);

    [LoggerMessage(104, LogLevel.Information, "Stopped.")]
    public static partial void Stopped(ILogger logger);

    [LoggerMessage(105, LogLevel.Warning, "Refused a connection: {Reason}")]
    public static partial void ConnectionRefused(ILogger logger, string reason);

    [LoggerMessage(106, LogLevel.Information, "Refused a request: {Reason}")]
    public static partial void RequestRefused(ILogger logger, string reason);

    [LoggerMessage(107, LogLevel.Information, "A run failed in stage {Stage} ({Error}): {Message}")]
    public static partial void RunFailed(ILogger logger, RunStage stage, string error, string message);

    [LoggerMessage(109, LogLevel.Information, "Prepared image '{Image}': {Count} containers wait.")]
    public static partial void Prepared(ILogger logger, string image, int count);

    [LoggerMessage(110, LogLevel.Warning, "Cannot prepare image '{Image}', trying again in {RetryTime}; its runs are ordinary ones meanwhile.")]
    public static partial void NotPrepared(ILogger logger, string image, TimeSpan retryTime, Exception exception);

    [LoggerMessage(108, LogLevel.Error, "A call failed.")]
    public static partial void CallFailed(ILogger logger, Exception exception);

    [LoggerMessage(113, LogLevel.Information, "A function whose caller asks for no memory limit has {Bytes} bytes. Set another (option DefaultMemoryBytes).")]
    public static partial void DefaultMemory(ILogger logger, long bytes);

    [LoggerMessage(114, LogLevel.Warning, "A function whose caller asks for no memory limit has none: {Reason}")]
    public static partial void NoDefaultMemory(ILogger logger, string reason);

    [LoggerMessage(115, LogLevel.Information, "The cache is pruned behind pulls that take it beyond {Bytes} bytes. Set another limit (option CacheLimit).")]
    public static partial void DefaultCacheLimit(ILogger logger, long bytes);

    [LoggerMessage(111, LogLevel.Information, "The files of certificates have changed; connections made from now on use what they hold.")]
    public static partial void CertificatesChanged(ILogger logger);

    [LoggerMessage(112, LogLevel.Warning, "The files of certificates have changed, but not to what can be used; connections use what they held before. {Reason}")]
    public static partial void CertificatesNotChanged(ILogger logger, string reason);
}
