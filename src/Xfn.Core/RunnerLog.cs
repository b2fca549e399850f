using Microsoft.Extensions.Logging;

namespace Xfn.Core;

/// <summary>What the runner logs.</summary>
internal static partial class RunnerLog
{
    [LoggerMessage(1, LogLevel.Debug, "A namespace for a run was not made.")]
    public static partial void SparkNotStarted(ILogger logger, Exception exception);

    [LoggerMessage(2, LogLevel.Warning, "Cannot remove '{Directory}'; a later process will try again.")]
    public static partial void NotRemoved(ILogger logger, string directory, Exception exception);
}
