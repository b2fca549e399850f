using Microsoft.Extensions.Logging;

namespace Xfn.Core.Remote;

/// <summary>What a remote runner logs.</summary>
internal static partial class RemoteLog
{
    [LoggerMessage(EventId = 300, Level = LogLevel.Debug, Message = "No server has taken a run of '{Image}' ({Found}); it is offered again in {Delay}.")]
    public static partial void NotTaken(ILogger logger, string image, string found, TimeSpan delay);

    [LoggerMessage(EventId = 301, Level = LogLevel.Warning, Message = "The server of a run of '{Image}' was lost ({Found}); it is run again in {Delay}.")]
    public static partial void Lost(ILogger logger, string image, string found, TimeSpan delay);
}
