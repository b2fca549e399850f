using Microsoft.Extensions.Logging;

namespace Xfn.Core.Hosting;

/// <summary>What a host's start logs.</summary>
internal static partial class HostingLog
{
    public const string Category = "Xfn.Core.Hosting";

    [LoggerMessage(EventId = 600, Level = LogLevel.Warning, Message = "this machine runs functions, but {Check}: {Found}. {Remedy}")]
    public static partial void MachineLacks(ILogger logger, string check, string found, string remedy);

    [LoggerMessage(EventId = 601, Level = LogLevel.Information, Message = "pulling image '{Image}'")]
    public static partial void Pulling(ILogger logger, string image);

    [LoggerMessage(EventId = 602, Level = LogLevel.Information, Message = "image '{Image}': fetched {Bytes} of {TotalBytes} bytes")]
    public static partial void PullProgress(ILogger logger, string image, long bytes, long totalBytes);

    [LoggerMessage(EventId = 603, Level = LogLevel.Information, Message = "image '{Image}' is in the cache ({Bytes} bytes) after {Elapsed}")]
    public static partial void Pulled(ILogger logger, string image, long bytes, TimeSpan elapsed);

    [LoggerMessage(EventId = 604, Level = LogLevel.Information, Message = "function '{Name}' is prepared: {Count} containers of image '{Image}' wait")]
    public static partial void Prepared(ILogger logger, string name, int count, string image);

    [LoggerMessage(EventId = 605, Level = LogLevel.Information, Message = "container '{Name}' is ready after {Elapsed}")]
    public static partial void Started(ILogger logger, string name, TimeSpan elapsed);

    [LoggerMessage(EventId = 606, Level = LogLevel.Error, Message = "the host starts without this: {Reason}")]
    public static partial void StepFailed(ILogger logger, string reason, Exception exception);
}
