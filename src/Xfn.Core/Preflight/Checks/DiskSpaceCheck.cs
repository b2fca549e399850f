using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>Images need room, in bytes and in files.</summary>
internal static class DiskSpaceCheck
{
    private const string Name = "disk space";
    private const string Wanted = "1 GiB and 10000 files free for the cache";
    private const ulong FewBytes = 1UL << 30;
    private const ulong NoBytes = 16UL << 20;
    private const ulong FewFiles = 10_000;
    private const ulong NoFiles = 100;

    public static EnvironmentCheck Check(string cacheDirectory)
    {
        string nearest = Path.GetFullPath(cacheDirectory);
        while (!Directory.Exists(nearest))
            nearest = Path.GetDirectoryName(nearest)!;
        return Posix.FreeSpace(nearest) is { } space
            ? Judge(space.Bytes, space.Files, nearest)
            : EnvironmentChecker.Warning(Name, new EnvironmentDiagnosis($"'{nearest}' cannot be asked", "Make the cache directory reachable for this user."), Wanted);
    }

    /// <summary>Judges what is free.</summary>
    /// <param name="bytes">Bytes.</param>
    /// <param name="files">Inodes; null where the file system does not count them.</param>
    /// <param name="place">Where.</param>
    internal static EnvironmentCheck Judge(ulong bytes, ulong? files, string place)
    {
        string found = $"{bytes >> 20} MiB{(files is null ? "" : $" and {files} files")} free at '{place}'";
        var few = new EnvironmentDiagnosis(found, "Free some, prune the cache, or have it elsewhere (WithCacheDir).");
        if (bytes < NoBytes || files < NoFiles)
            return EnvironmentChecker.Failed(Name, few, Wanted);
        return bytes < FewBytes || files < FewFiles ? EnvironmentChecker.Warning(Name, few, Wanted) : EnvironmentChecker.Ok(Name, found, Wanted);
    }
}
