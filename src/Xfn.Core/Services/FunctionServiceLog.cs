using Microsoft.Extensions.Logging;

namespace Xfn.Core.Services;

/// <summary>What a service logs.</summary>
internal static partial class FunctionServiceLog
{
    [LoggerMessage(500, LogLevel.Warning, "A container of image {Image} {Exit}, with {Calls} calls under way; the next one can start in {Wait:0.#} s.")]
    public static partial void Ended(ILogger logger, string image, ContainerExit exit, int calls, double wait);

    [LoggerMessage(501, LogLevel.Warning, "A container of image {Image} was not started; the next start is in {Wait:0.#} s at the earliest.")]
    public static partial void NotStarted(ILogger logger, string image, double wait, Exception exception);

    [LoggerMessage(502, LogLevel.Debug, "A container of image {Image} had no call for a while, and is stopped.")]
    public static partial void StoppedIdle(ILogger logger, string image);
}
