using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Xfn.Core.Cache;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>Images whose layers were copied over one another, because the kernel lets no user namespace mount
/// overlayfs. Each is made once, kept beside the layers, and removed with its image.</summary>
/// <remarks>A run needs directories of its own in the root, mount points above all. An overlay has them in a layer of
/// the run's; here they are in what is kept, so that it never changes in use. Other runs get another copy.</remarks>
internal sealed class FlattenedImages(CacheDirectory cache, ImageStore store, LayerStore layers, SparkLauncher sparks, CacheKeeper keeper)
{
    private readonly ConcurrentDictionary<string, StoredLayer> _known = new();

    /// <summary>Whether this kernel, by its version, lets no user namespace mount overlayfs.</summary>
    public static bool AreNeededHere => Environment.OSVersion.Version < new Version(5, 11);

    /// <summary>Gives a leased image flattened, with what a run's root needs besides the layers.</summary>
    /// <returns>Where it is.</returns>
    public async ValueTask<StoredLayer> ProvideAsync(StoredImage image, SparkRun run, CancellationToken cancellationToken)
    {
        string id = LayerNames.OfFlattened(image.ChainName, KeyOf(run.Root));
        if (_known.TryGetValue(id, out StoredLayer? known) && layers.Exists(known))
            return known;
        StoredLayer flattened = await store.GuardAsync(
            async () => await layers.MakeAsync(id, directory => FlattenAsync(image, run, directory, cancellationToken), cancellationToken).ConfigureAwait(false)).ConfigureAwait(false);
        _known[id] = flattened;
        keeper.ClearBehind(image.ManifestDigest);
        return flattened;
    }

    /// <summary>What a flattened image has besides its layers, as a name.</summary>
    private static string KeyOf(SparkRoot root)
    {
        const string format = "3";
        string text = string.Join(
            '\0', [format, "", .. root.MountPoints, "", .. root.FileMountPoints, "", .. root.Directories, "", .. root.Files.Select(file => file.Path)]);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)).AsSpan(0, 8));
    }

    private async Task<LayerRecord> FlattenAsync(StoredImage image, SparkRun run, string directory, CancellationToken cancellationToken)
    {
        var root = run.Root with
        {
            Layers = new SparkLayers(cache.StoreFromIncoming, image.LowerDirectories),
            Files = [.. run.Root.Files.Select(file => file.IsLink ? file : file with { Content = default })],
        };
        SparkFlattened flattened = await sparks.AskAsync<SparkFlattened>(RunStage.Unpack, directory, new SparkFlatten(root), null, cancellationToken).ConfigureAwait(false);
        return new LayerRecord { DiffId = "", Blobs = [], Entries = flattened.Entries, Bytes = flattened.Bytes }
            .WithIds(image.Layers.Max(l => l.Record.HighestUid), image.Layers.Max(l => l.Record.HighestGid), sparks.Mapping);
    }
}
