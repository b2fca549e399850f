namespace Xfn.Core.Cache;

/// <summary>Says what to do when the cache's file system refuses something.</summary>
internal static class CacheErrors
{
    private const int NoSpace = 28;
    private const int ReadOnly = 30;
    private const int OverQuota = 122;

    /// <summary>The error of a run.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="exception">What the system said.</param>
    public static ContainerEnvironmentException Refused(RunStage stage, CacheDirectory cache, Exception exception) =>
        new(stage, $"cannot use cache directory '{cache.Name}': {cache.Named(exception.Message).TrimEnd('.')}. {RemedyFor(exception.HResult)}", exception);

    /// <summary>Whether an error number says that there is no space.</summary>
    public static bool IsFull(int errno) => errno is NoSpace or OverQuota;

    /// <summary>What to do about an error number of the system.</summary>
    public static string RemedyFor(int errno) => errno switch
    {
        NoSpace or OverQuota => "Free space there (xfn prune, PruneAsync), limit the cache (ContainerRunnerOptions.CacheLimit), or choose a directory on a larger file system (WithCacheDir).",
        ReadOnly => "Mount its file system writable, or choose another directory (WithCacheDir).",
        _ => "See that it is this user's and on a sound file system, or choose another (WithCacheDir).",
    };
}
