using Xfn.Core.Cache;
using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>The cache is this user's alone, on a file system that programs can be run from.</summary>
internal static class CacheDirectoryCheck
{
    private const string Name = "cache directory";
    private const string Wanted = "this user's own, writable by nobody else, on a path that nobody else can change, on a local file system without noexec";

    private static readonly string[] NetworkTypes = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "afs"];

    public static EnvironmentCheck Check(EnvironmentCheckOptions options)
    {
        string directory = Path.GetFullPath(options.CacheDirectory);
        bool exists = Directory.Exists(directory);
        try
        {
            HeldDirectory.Check(directory);
        }
        catch (UntrustedPathException ex)
        {
            return Failed(ex.Found, ex.Remedy);
        }

        string nearest = directory;
        while (!Directory.Exists(nearest))
            nearest = Path.GetDirectoryName(nearest)!;

        if (exists)
        {
            uint owner = Posix.OwnerOf(directory);
            UnixFileMode mode = File.GetUnixFileMode(directory);
            if (owner != Posix.EffectiveUserId)
                return Failed($"'{directory}' belongs to user id {owner}, and this process is user id {Posix.EffectiveUserId}", "Name a directory of this user's own (WithCacheDir), or run as its owner.");
            if ((mode & (UnixFileMode.GroupWrite | UnixFileMode.OtherWrite)) != 0)
                return Failed($"'{directory}' has mode {Convert.ToString((int)mode, 8).PadLeft(4, '0')}: others may write to it", $"chmod 0700 '{directory}', after a look at what is in it.");
        }

        Mount? mount = MountTable.Find(MountTable.Read(options.Files), nearest);
        string place = $"'{directory}'{(exists ? "" : ", not made yet")}{(mount is null ? "" : $", on {mount.Type} at {mount.MountPoint}")}";
        if (mount?.Options.Contains("noexec") == true)
            return Failed($"{place}, mounted noexec: xfn-spark could not be run from it", "Mount it without noexec, or name a directory elsewhere (WithCacheDir).");
        if (mount?.IsReadOnly == true)
            return exists
                ? Warning($"{place}, mounted read-only: only what is cached can be run", "Mount it read-write.")
                : Failed($"{place}, mounted read-only", "Mount it read-write, or name a directory elsewhere (WithCacheDir).");
        if (!Posix.CanWrite(nearest))
            return Failed($"{place}: this user may not write to '{nearest}'", "Name a directory that this user may make (WithCacheDir), or make it as root and chown it to this user.");
        if (mount is not null && NetworkTypes.Contains(mount.Type))
            return Warning($"{place}, a network file system: owners, locks and overlayfs may not work on it", "Have the cache on a local file system.");
        return EnvironmentChecker.Ok(Name, place, Wanted);
    }

    private static EnvironmentCheck Failed(string found, string remedy) => EnvironmentChecker.Failed(Name, new EnvironmentDiagnosis(found, remedy), Wanted);

    private static EnvironmentCheck Warning(string found, string remedy) => EnvironmentChecker.Warning(Name, new EnvironmentDiagnosis(found, remedy), Wanted);
}
