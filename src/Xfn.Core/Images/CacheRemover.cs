using System.Globalization;
using Xfn.Core.Cache;
using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>Removes whole caches, also what belongs to ids that the caller is not: by a spark that has them.</summary>
internal sealed class CacheRemover(SparkLauncher sparks)
{
    /// <summary>Removes all of a cache that no runner uses.</summary>
    /// <param name="cache">The cache, of which only disposal is left after this.</param>
    /// <returns>How many layers were removed, and how many bytes of the disk all of it gave back.</returns>
    /// <exception cref="ContainerEnvironmentException">A layer's ids are not the caller's. Others are gone.</exception>
    public async Task<RemovedLayers> RemoveAsync(CacheDirectory cache)
    {
        // Where the cgroups of runners are that were killed is known here alone.
        await CgroupManager.SweepAsync(cache.Cgroups).ConfigureAwait(false);
        int layers = 0;
        long bytes = 0;
        ContainerEnvironmentException? refused = null;
        string[] stores = cache.ListStores();
        IdMapping[] mappings = [sparks.Mapping, .. stores.Select(store => MappingOf(Path.GetFileName(store))).OfType<IdMapping>().Where(m => m.Key != sparks.Mapping.Key)];
        foreach (string directory in stores.SelectMany(Directory.GetDirectories).SelectMany(Directory.GetDirectories).Concat(cache.ListAllIncoming()).ToArray())
        {
            try
            {
                // Most likely it has the ids of the mapping that its store is named after.
                bytes += await RemoveAsync(cache, directory, mappings.OrderBy(m => directory.Contains($"/{m.Key}/", StringComparison.Ordinal) ? 0 : 1)).ConfigureAwait(false);
                layers += Path.GetFileName(Path.GetDirectoryName(directory)) == "layers" ? 1 : 0;
            }
            catch (ContainerEnvironmentException ex)
            {
                refused ??= ex;
            }
        }

        return refused is null ? new RemovedLayers(layers, bytes + cache.Remove()) : throw refused;
    }

    private async Task<long> RemoveAsync(CacheDirectory cache, string directory, IEnumerable<IdMapping> mappings)
    {
        Exception? refused = null;
        foreach (IdMapping mapping in mappings)
        {
            try
            {
                return await sparks.RemoveAsync(directory, mapping, CancellationToken.None).ConfigureAwait(false);
            }
            catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException)
            {
                refused ??= ex;
            }
        }

        try
        {
            // Root of the machine may whatever a spark may.
            return CountedRemoval.RemoveTree(directory);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(
                RunStage.Pull, $"cannot delete '{cache.Named(directory)}': {cache.Named((refused ?? ex).Message).TrimEnd('.')}. It was unpacked with other ids: delete the cache with a runner that has those, or as root.", refused ?? ex);
        }
    }

    /// <summary>The mapping that a store is named after; null where it is none's name.</summary>
    private static IdMapping? MappingOf(string key)
    {
        if (key.Split('-') is not [string uids, string gids] || RangesOf(uids) is not { } u || RangesOf(gids) is not { } g)
            return null;
        return new IdMapping
        {
            Uids = u,
            Gids = g,
            Method = ProcessStatus.Read().CanMapIds ? IdMappingMethod.Capabilities
                : u is [{ Count: 1 } own] && own.Outside == Posix.EffectiveUserId ? IdMappingMethod.Self
                : IdMappingMethod.SubordinateIds,
        };
    }

    private static List<IdRange>? RangesOf(string names)
    {
        var ranges = new List<IdRange>();
        uint inside = 0;
        foreach (string name in names.Split('_'))
        {
            if (name.Split('+') is not [string first, string count]
                || !uint.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out uint outside) || !uint.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out uint ids))
                return null;
            ranges.Add(new IdRange(inside, outside, ids));
            inside += ids;
        }

        return ranges;
    }
}
