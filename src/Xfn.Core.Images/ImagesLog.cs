using Microsoft.Extensions.Logging;

namespace Xfn.Core.Images;

/// <summary>What builders log.</summary>
internal static partial class ImagesLog
{
    [LoggerMessage(EventId = 900, Level = LogLevel.Warning, Message = "shared library '{Library}' is left out of the image: this machine lacks it, and '{Path}' names it")]
    public static partial void LibraryLeftOut(ILogger logger, string library, string path);
}
