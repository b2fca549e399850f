using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core.Layers;

/// <summary>A layer in the cache, or an image's layers flattened: its directory's name, and what is known of
/// it.</summary>
internal sealed record StoredLayer(string Id, LayerRecord Record)
{
    /// <summary>Its files, below the store's directory.</summary>
    public string Files => $"{PathOf(Id)}/fs";

    /// <summary>A layer's directory, below the store's.</summary>
    public static string PathOf(string id) => LayerNames.IsFlattened(id) ? $"flat/{id}" : $"layers/{id}";

    public bool IsOf(Descriptor blob) => Record.Blobs.Contains(blob.Digest.ToString());

    /// <summary>Whether it is known that the layer, unpacked without regard to what lies below, hides there only what
    /// is there.</summary>
    public bool IsKnownAbove(IReadOnlyList<Digest> diffIds, int index) =>
        Record.WhiteoutDirectories.Count == 0 || index > 0 && Record.Above.Contains(LayerNames.OfChain(diffIds, index - 1));

    /// <summary>Those of layers that are visible when they lie upon one another, the uppermost first.</summary>
    public static IEnumerable<StoredLayer> VisibleLayers(IEnumerable<StoredLayer> baseFirst)
    {
        StoredLayer[] layers = [.. baseFirst];

        // Overlayfs does not honour an opaque root, so what it hides is left out. And it takes a directory once: where
        // a layer comes twice its upper place has all that its lower one has.
        int first = Math.Max(0, Array.FindLastIndex(layers, l => l.Record.OpaqueRoot));
        return layers.Skip(first).Reverse().DistinctBy(l => l.Id);
    }
}

/// <summary>What is written beside a layer's files when it was unpacked.</summary>
internal sealed record LayerRecord
{
    /// <summary>The version of this format and of the way layers are unpacked; others are not used.</summary>
    public const int CurrentFormat = 2;

    public int Format { get; init; } = CurrentFormat;

    public required string DiffId { get; init; }

    /// <summary>The digests of the blobs that were found to be this layer, each compressed in its way.</summary>
    public required IReadOnlyList<string> Blobs { get; init; }

    public required long Entries { get; init; }

    /// <summary>What the files take on disk: deleting needs to know, and may not look.</summary>
    public required long Bytes { get; init; }

    public bool HasRoot { get; init; }

    public uint RootMode { get; init; }

    public uint RootUid { get; init; }

    public uint RootGid { get; init; }

    public bool OpaqueRoot { get; init; }

    /// <summary>Directories with whiteouts that only hide what the layers below have. Those must have each of the
    /// directories, or the layer shows the whiteouts as names.</summary>
    public IReadOnlyList<string> WhiteoutDirectories { get; init; } = [];

    /// <summary>The names of joint layers found to have all of <see cref="WhiteoutDirectories"/>.</summary>
    public IReadOnlyList<string> Above { get; init; } = [];

    /// <summary>The highest user id that a file has, inside.</summary>
    public uint HighestUid { get; init; }

    /// <summary>The highest group id that a file has, inside.</summary>
    public uint HighestGid { get; init; }

    /// <summary>Which ids of the machine those are that the store's name does not tell (<see
    /// cref="IdMapping.KeyBeyond"/>); null where no file has any of them.</summary>
    public string? IdsBeyond { get; init; }

    /// <summary>What unpacking left out or changed. Caches have it by an older name.</summary>
    [JsonPropertyName("Notes")]
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>The machine's boot in which it was unpacked; null once all its files are known to be on disk.</summary>
    public string? Boot { get; init; }

    /// <summary>Whether a mapping gives the files the owners that they were unpacked with.</summary>
    public bool IsOf(IdMapping mapping) => IdsBeyond is null || IdsBeyond == mapping.KeyBeyond(HighestUid, HighestGid);

    /// <summary>The record of files with ids up to these, unpacked through a mapping.</summary>
    public LayerRecord WithIds(uint highestUid, uint highestGid, IdMapping mapping) => this with
    {
        HighestUid = highestUid,
        HighestGid = highestGid,
        IdsBeyond = Math.Max(highestUid, highestGid) >= IdMapping.KeyIds ? mapping.KeyBeyond(highestUid, highestGid) : null,
    };

    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, LayerJsonContext.Default.LayerRecord);

    public static LayerRecord? FromJson(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, LayerJsonContext.Default.LayerRecord) is { Format: CurrentFormat } record ? record : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(LayerRecord))]
internal sealed partial class LayerJsonContext : JsonSerializerContext;
