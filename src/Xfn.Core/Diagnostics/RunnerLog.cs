using Microsoft.Extensions.Logging;

namespace Xfn.Core.Diagnostics;

/// <summary>What the runner logs.</summary>
internal static partial class RunnerLog
{
    [LoggerMessage(1, LogLevel.Debug, "A namespace for a run was not made.")]
    public static partial void SparkNotStarted(ILogger logger, Exception exception);

    [LoggerMessage(2, LogLevel.Warning, "Cannot remove '{Directory}'; a later process will try again.")]
    public static partial void NotRemoved(ILogger logger, string directory, Exception exception);

    [LoggerMessage(3, LogLevel.Information, "The cache went over its limit: {Images} images and {Layers} layers of {Bytes} bytes were removed.")]
    public static partial void CachePruned(ILogger logger, int images, int layers, long bytes);

    [LoggerMessage(4, LogLevel.Warning, "Cannot prune the cache; the next pull will try again.")]
    public static partial void CacheNotPruned(ILogger logger, Exception exception);

    [LoggerMessage(5, LogLevel.Warning, "Cannot have layers in '{Directory}' on disk; should the machine lose power they are pulled again.")]
    public static partial void NotSynced(ILogger logger, string directory, Exception exception);

    [LoggerMessage(6, LogLevel.Warning, "Images are flattened from now on, which takes time and disk: {Reason}.")]
    public static partial void OverlayRefused(ILogger logger, string reason);

    [LoggerMessage(8, LogLevel.Warning, "Image {Image} ({Digest}) takes {Bytes} bytes, which is more than the cache may take, {Limit}: it is kept until another image is pulled, and pulled again when it is run after that. Raise the limit (option CacheLimit).")]
    public static partial void ImageOverLimit(ILogger logger, string image, Digest digest, long bytes, long limit);

    [LoggerMessage(10, LogLevel.Warning, "Images are kept in '{Directory}': {Reason}")]
    public static partial void OddDefaultCache(ILogger logger, string directory, string reason);

    [LoggerMessage(9, LogLevel.Warning, "The ids of functions are not theirs alone: {Found}. {Remedy}")]
    public static partial void IdsShared(ILogger logger, string found, string remedy);

    [LoggerMessage(11, LogLevel.Information, "What the cache has of the users of image {Digest} is set aside, and read from the image again: {Found}.")]
    public static partial void UserFilesSetAside(ILogger logger, Digest digest, string found);

    [LoggerMessage(12, LogLevel.Debug, "A connection to {Name} was dropped: {Reason}")]
    public static partial void ConnectionDropped(ILogger logger, string name, string reason);

    [LoggerMessage(13, LogLevel.Information, "In the copy of '{Path}' of image {Image}: {Warning}")]
    public static partial void CopyLeftOut(ILogger logger, string path, string image, string warning);

    [LoggerMessage(14, LogLevel.Debug, "Each spark is made by a program of its own, as no process can make them all by copies of itself: {Reason}")]
    public static partial void NoForkServer(ILogger logger, string reason);
}
