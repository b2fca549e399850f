using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>An image whose layers are all in the cache.</summary>
internal sealed record StoredImage
{
    public required Digest ManifestDigest { get; init; }

    public required ImageConfig Config { get; init; }

    /// <summary>The layers, the uppermost first, down to the first that hides all below it.</summary>
    public required IReadOnlyList<StoredLayer> Layers { get; init; }

    /// <summary>The <see cref="LayerStore.LastChange"/> at which all of these were last found.</summary>
    public DateTime LayersSeen { get; set; }

    /// <summary>The layers' files, likewise.</summary>
    public IReadOnlyList<string> LowerDirectories => field ??= [.. Layers.Select(l => l.Files)];

    public string ChainName => field ??= LayerNames.OfChain(Config.RootFs.DiffIds, Config.RootFs.DiffIds.Count - 1);

    /// <summary>Mode and owner of the root directory: those of the uppermost layer that has an entry for it.</summary>
    public (uint Mode, uint Uid, uint Gid) Root =>
        Layers.FirstOrDefault(l => l.Record.HasRoot)?.Record is { } record ? (record.RootMode, record.RootUid, record.RootGid) : (0b111_101_101, 0, 0);

    /// <summary>Whether <see cref="Passwd"/> and <see cref="Group"/> hold what there is, or are not needed.</summary>
    public required bool HasUserFiles { get; init; }

    /// <summary>The image's <c>/etc/passwd</c>, where its user needs it.</summary>
    public ReadOnlyMemory<byte> Passwd { get; init; }

    /// <summary>The image's <c>/etc/group</c>, likewise.</summary>
    public ReadOnlyMemory<byte> Group { get; init; }

    /// <summary>What was last planned for it that later runs can use; null for nothing.</summary>
    public StablePlan? Plan { get; set; }
}

/// <summary>What runs of an image with one network policy have in common.</summary>
internal sealed record StablePlan(NetworkPolicy Network, SparkRun Run);
