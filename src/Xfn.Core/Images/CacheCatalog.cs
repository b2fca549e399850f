using System.Text.Json;
using Xfn.Core.Layers;

namespace Xfn.Core.Images;

/// <summary>Tells which images the cache has, and what each of them takes.</summary>
internal sealed class CacheCatalog(ImageStore store, ReferenceMap references, LayerStore layers, ImageLeases leases)
{
    public CacheContent Read()
    {
        // In this order: who pulls writes the manifest first, then the configuration, then layers.
        IReadOnlyDictionary<string, long> allLayers = layers.List();
        IReadOnlyDictionary<Digest, long> allBlobs = store.ListBlobs();
        ILookup<string, string> layersByName = allLayers.Keys.ToLookup(LayerNames.BaseOf);
        var images = new List<CatalogEntry>();
        foreach (Digest digest in store.ListBlobs().Keys)
        {
            if (Parse(digest, OciJson.ParseManifest) is not { } manifest)
                continue;
            ImageConfig? config = Parse(manifest.Config.Digest, OciJson.ParseConfig);
            string[] stored = config is null ? [] : [.. LayerNames.AllOf(config.RootFs.DiffIds).SelectMany(name => layersByName[name]).Distinct()];
            bool isWhole = config is not null && LayerNames.AreAllAmong(config.RootFs.DiffIds, allLayers);
            images.Add(new CatalogEntry(digest, manifest.Config.Digest, leases.LastUseOf(digest), config is not null, isWhole, stored));
        }

        return new CacheContent(images, allBlobs, allLayers);
    }

    /// <summary>Describes one image without a look at the others. It is leased, so that all of it is there.</summary>
    public CachedImage Describe(StoredImage image, string reference)
    {
        long documents = store.SizeOfBlob(image.ManifestDigest);
        if (Parse(image.ManifestDigest, OciJson.ParseManifest) is { } manifest)
            documents += store.SizeOfBlob(manifest.Config.Digest);
        return new CachedImage
        {
            Reference = reference,
            Digest = image.ManifestDigest,
            Bytes = documents + layers.ListOf(image.Config.RootFs.DiffIds).Values.Sum(),
            LastUsed = leases.LastUseOf(image.ManifestDigest),
        };
    }

    /// <summary>The images that are whole, by each of their references, in the order of those.</summary>
    public IReadOnlyList<CachedImage> List()
    {
        CacheContent content = Read();
        ILookup<Digest, string> names = references.ListNames();
        return
        [
            .. content.Images
                .Where(image => image.IsWhole)
                .SelectMany(image => names[image.Digest].DefaultIfEmpty("").Select(name =>
                    new CachedImage { Reference = name, Digest = image.Digest, Bytes = content.SizeOf(image), LastUsed = image.LastUsed }))
                .OrderBy(image => image.Reference, StringComparer.Ordinal),
        ];
    }

    /// <summary>What describes an image; null where the cache does not have all of it.</summary>
    public ImageDocuments? ReadDocuments(Digest digest) =>
        store.ReadBlob(digest) is { } manifest && Parse(digest, OciJson.ParseManifest) is { } parsed && store.ReadBlob(parsed.Config.Digest) is { } config
            ? new ImageDocuments { Manifest = manifest, Config = config }
            : null;

    /// <summary>Those of some images of which each alone has layers that take more than this.</summary>
    public IEnumerable<(string Name, Digest Digest, long Bytes)> LargerThan(long bytes, IReadOnlySet<Digest> images)
    {
        CacheContent content = Read();
        ILookup<Digest, string> names = references.ListNames();
        return content.Images
            .Where(image => images.Contains(image.Digest) && content.LayersOf([image]) > bytes)
            .Select(image => (names[image.Digest].FirstOrDefault() ?? image.Digest.ToString(), image.Digest, content.LayersOf([image])));
    }

    /// <summary>The names of all layers that images want, in the cache or not.</summary>
    public IReadOnlySet<string> WantedLayers() => store.ListBlobs().Keys
        .Select(digest => Parse(digest, OciJson.ParseManifest) is { } manifest ? Parse(manifest.Config.Digest, OciJson.ParseConfig) : null)
        .SelectMany(config => config is null ? [] : LayerNames.AllOf(config.RootFs.DiffIds))
        .ToHashSet();

    private T? Parse<T>(Digest digest, Func<ReadOnlySpan<byte>, T> parse)
        where T : class
    {
        try
        {
            return store.ReadBlob(digest) is { } json ? parse(json) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>What the cache has: images, whole or not; this mapping's documents and layers, and their bytes.</summary>
internal sealed record CacheContent(IReadOnlyList<CatalogEntry> Images, IReadOnlyDictionary<Digest, long> Blobs, IReadOnlyDictionary<string, long> Layers)
{
    /// <summary>What an image takes, layers that others have too included.</summary>
    public long SizeOf(CatalogEntry image) => image.Layers.Sum(id => Layers[id]) + Blobs.GetValueOrDefault(image.Digest) + Blobs.GetValueOrDefault(image.Config);

    public long LayersOf(IEnumerable<CatalogEntry> images) => images.SelectMany(i => i.Layers).Distinct().Sum(id => Layers[id]);
}

/// <summary>An image of the cache: its manifest's digest, its configuration's, and when it was last leased; whether its
/// configuration is there, so that its layers are known, and whether they are there as well, which they are not after a
/// pull that failed; the names of those of its layers that are there, and of what was made of them.</summary>
internal sealed record CatalogEntry(Digest Digest, Digest Config, DateTimeOffset LastUsed, bool HasConfig, bool IsWhole, IReadOnlyList<string> Layers);
