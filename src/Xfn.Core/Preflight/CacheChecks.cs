using System.Diagnostics;
using Xfn.Core.Cache;
using Xfn.Core.Interop;

namespace Xfn.Core.Preflight;

/// <summary>The cache, and room for it.</summary>
internal static class CacheChecks
{
    private const ulong FewBytes = 1UL << 30;
    private const ulong NoBytes = 16UL << 20;
    private const ulong FewFiles = 10_000;
    private const ulong NoFiles = 100;

    private static readonly string[] NetworkTypes = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "afs"];

    private static readonly Subject Cache = new(
        "cache directory", "this user's own, writable by nobody else, on a path that nobody else can change, on a local file system without noexec");

    private static readonly Subject Space = new("disk space", "1 GiB and 10000 files free for the cache");

    /// <summary>The cache is this user's alone, on a file system that programs can be run from.</summary>
    public static EnvironmentCheck Directory(EnvironmentCheckOptions options)
    {
        Debug.Assert(HostPlatform.IsLinux);
        string directory = Path.GetFullPath(options.CacheDirectory);
        try
        {
            HeldDirectory.Check(directory);
        }
        catch (UntrustedPathException ex)
        {
            return Cache.Failed(ex.Found, ex.Remedy);
        }

        string nearest = NearestOf(directory);
        if (nearest == directory)
        {
            uint owner = Posix.OwnerOf(directory);
            UnixFileMode mode = File.GetUnixFileMode(directory);
            if (owner != Posix.EffectiveUserId)
                return Cache.Failed($"'{directory}' belongs to user id {owner}, and this process is user id {Posix.EffectiveUserId}", "Name a directory of this user's own (option CacheDirectory), or run as its owner.");
            if ((mode & (UnixFileMode.GroupWrite | UnixFileMode.OtherWrite)) != 0)
                return Cache.Failed($"'{directory}' has mode {Convert.ToString((int)mode, 8).PadLeft(4, '0')}: others may write to it", $"chmod 0700 '{directory}', after a look at what is in it.");
        }

        MountEntry? mount = MountTable.Find(MountTable.Read(options.Files), nearest);
        string place = $"'{directory}'{(nearest == directory ? "" : ", not made yet")}{(mount is null ? "" : $", on {mount.Type} at {mount.MountPoint}")}";
        if (mount?.Options.Contains("noexec") == true)
            return Cache.Failed($"{place}, mounted noexec: xfn-spark could not be run from it", "Mount it without noexec, or name a directory elsewhere (option CacheDirectory).");
        if (mount?.IsReadOnly == true)
            return nearest == directory
                ? Cache.Warning($"{place}, mounted read-only: only what is cached can be run", "Mount it read-write.")
                : Cache.Failed($"{place}, mounted read-only", "Mount it read-write, or name a directory elsewhere (option CacheDirectory).");
        if (!Posix.CanWrite(nearest))
            return Cache.Failed($"{place}: this user may not write to '{nearest}'", "Name a directory that this user may make (option CacheDirectory), or make it as root and chown it to this user.");
        return mount is not null && NetworkTypes.Contains(mount.Type)
            ? Cache.Warning($"{place}, a network file system: owners, locks and overlayfs may not work on it", "Have the cache on a local file system.")
            : Cache.Ok(place);
    }

    /// <summary>Images need room, in bytes and in files.</summary>
    public static EnvironmentCheck DiskSpace(string cacheDirectory)
    {
        string nearest = NearestOf(Path.GetFullPath(cacheDirectory));
        return Posix.FreeSpace(nearest) is { } space
            ? Judge(space.Bytes, space.Files, nearest)
            : Space.Warning($"'{nearest}' cannot be asked", "Make the cache directory reachable for this user.");
    }

    /// <summary>Judges what is free. Files are inodes; null where the file system does not count them.</summary>
    internal static EnvironmentCheck Judge(ulong bytes, ulong? files, string place)
    {
        string found = $"{bytes >> 20} MiB{(files is null ? "" : $" and {files} files")} free at '{place}'";
        const string Remedy = "Free some, prune the cache, or have it elsewhere (option CacheDirectory).";
        return bytes < NoBytes || files < NoFiles ? Space.Failed(found, Remedy)
            : bytes < FewBytes || files < FewFiles ? Space.Warning(found, Remedy)
            : Space.Ok(found);
    }

    /// <summary>A directory, or the nearest above it that there is.</summary>
    private static string NearestOf(string directory)
    {
        while (!System.IO.Directory.Exists(directory))
            directory = Path.GetDirectoryName(directory)!;
        return directory;
    }
}
