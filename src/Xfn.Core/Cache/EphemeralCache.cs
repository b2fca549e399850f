using System.Diagnostics;
using System.Globalization;
using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>One runner's cache, gone with it. If that is killed, the user's next one beside it removes it.</summary>
internal sealed class EphemeralCache(string path, FileStream owner) : IDisposable
{
    private const string OwnerName = "owner";

    public string Path => path;

    private static string Prefix => string.Create(CultureInfo.InvariantCulture, $"xfn-ephemeral-{Posix.EffectiveUserId}-");

    /// <summary>Where one might be made.</summary>
    public static string PathIn(string parent) => System.IO.Path.Combine(System.IO.Path.GetFullPath(parent), Prefix + Guid.NewGuid().ToString("N"));

    /// <summary>Makes one.</summary>
    /// <exception cref="ContainerEnvironmentException">It cannot be made there.</exception>
    public static EphemeralCache Make(string parent)
    {
        const UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        Debug.Assert(HostPlatform.IsLinux);
        try
        {
            while (true)
            {
                // A name that nobody can have taken before.
                string path = Directory.CreateDirectory(PathIn(parent), mode).FullName;
                File.SetUnixFileMode(path, mode);
                if (TryOwn(path) is { } owner)
                    return new EphemeralCache(path, owner);
            }
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(
                RunStage.Validate, $"cannot make an ephemeral cache in '{parent}': {ex.Message.TrimEnd('.')}. Name a directory that this user may write (option EphemeralCacheParent, or TMPDIR).", ex);
        }
    }

    /// <summary>Those of this user whose runners are gone.</summary>
    /// <returns>To be disposed when they are removed: nobody else removes them until then.</returns>
    public static IEnumerable<EphemeralCache> FindDead(string parent)
    {
        foreach (string path in Directory.GetDirectories(parent, Prefix + "*"))
        {
            // Anybody may have put something there; what belongs to this user nobody else has changed.
            if (Posix.LookAt(path) is { Kind: UnixFileKind.Directory } found && found.Owner == Posix.EffectiveUserId && TryOwn(path) is { } owner)
                yield return new EphemeralCache(path, owner);
        }
    }

    /// <summary>Removes what is left of it when the cache in it was removed.</summary>
    /// <exception cref="IOException">There is something else in it.</exception>
    public void Remove()
    {
        File.Delete(owner.Name);
        Directory.Delete(Path);
    }

    public void Dispose() => owner.Dispose();

    /// <summary>Takes a cache's owner lock. Null if it is taken or the cache gone: a sweeper may be first.</summary>
    private static FileStream? TryOwn(string path)
    {
        try
        {
            return FileLock.Try(System.IO.Path.Combine(path, OwnerName));
        }
        catch (DirectoryNotFoundException)
        {
            return null;
        }
    }
}
