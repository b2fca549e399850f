using Xfn.Core.Bundles;
using Xfn.Core.Cache;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>What one container mounts of this machine: files and directories as they are now, and new directories of
/// the cache.</summary>
internal sealed class HostMounts
{
    private readonly CacheDirectory _cache;
    private readonly List<string> _volumes = [];

    private HostMounts(IReadOnlyList<Mount> mounts, CacheDirectory cache)
    {
        _cache = cache;
        Mounts = mounts;
        Sources = [.. mounts.OfType<BindMount>().Select(BindSource.Of)];
        foreach (BindSource source in Sources)
        {
            if (!source.Mount.ReadOnly && cache.Overlaps(source.RealPath))
                throw source.Refuse($"the runner's cache '{cache.Name}' is in it, or it is in the cache. Name another directory, or have the cache elsewhere (option CacheDirectory)");
        }

        if (!cache.IsWritable && mounts.OfType<VolumeMount>().FirstOrDefault() is { } volume)
            throw new InvalidRequestException($"cannot make a volume at '{volume.Destination}': the cache '{cache.Name}' is read-only, and volumes lie there. Use a tmpfs, or a cache that can be written to (option CacheDirectory).");
    }

    /// <summary>Looks at what a request mounts of this machine.</summary>
    /// <returns>That; null for nothing.</returns>
    /// <exception cref="InvalidRequestException">Something is not there, or must not be mounted.</exception>
    public static HostMounts? Of(CheckedRequest request, CacheDirectory cache) =>
        request.Container?.Mounts.Where(mount => mount is BindMount or VolumeMount).ToArray() is { Length: > 0 } mounts ? new HostMounts(mounts, cache) : null;

    /// <summary>The mounts, in the order of what <see cref="Open"/> gives.</summary>
    public IReadOnlyList<Mount> Mounts { get; }

    /// <summary>Those that are there already.</summary>
    public IReadOnlyList<BindSource> Sources { get; }

    /// <summary>Makes the new directories.</summary>
    /// <returns>What a spark is to open.</returns>
    public IReadOnlyList<SparkPath> Open()
    {
        int bind = 0;
        return [.. Mounts.Select(mount => mount is BindMount ? Sources[bind++].ToSparkPath() : MakeVolume())];
    }

    /// <summary>Removes the new directories when no process writes there any more.</summary>
    /// <param name="remove">Removes one. What it leaves is removed by a later sweep.</param>
    public async Task RemoveAsync(Func<string, Task> remove)
    {
        foreach (string directory in _volumes)
            await remove(directory).ConfigureAwait(false);
    }

    private SparkPath MakeVolume()
    {
        string directory = _cache.NewIncoming();
        _volumes.Add(directory);
        FileIdentity identity = Posix.IdentityOf(directory) ?? throw new IOException($"cannot look at '{_cache.Named(directory)}'");
        return new SparkPath(_cache.FromStore(directory), identity.Device, identity.Inode);
    }
}
