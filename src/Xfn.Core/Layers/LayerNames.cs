using System.Security.Cryptography;
using System.Text;

namespace Xfn.Core.Layers;

/// <summary>The names of directories in the store: a layer's is its DiffID or its ChainID, and that of an image's
/// layers flattened is their ChainID and what they were flattened for.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-chainid">image-spec,
/// Layer ChainID</see>.</remarks>
internal static class LayerNames
{
    private const string ChainPrefix = "chain-";
    private const string Sha512Prefix = "sha512-";
    private const string FlattenedSuffix = ".flat";

    public static string Of(Digest diffId) => diffId.Algorithm == "sha256" ? diffId.Hex : $"{diffId.Algorithm}-{diffId.Hex}";

    /// <summary>The name of a layer with those below it.</summary>
    public static string OfChain(IReadOnlyList<Digest> diffIds, int index) => Chains(diffIds).ElementAt(index);

    /// <summary>The name of an image's layers flattened, of which there may be several variants.</summary>
    public static string OfFlattened(string chain, string variant) => $"{chain}{FlattenedSuffix}-{variant}";

    /// <summary>The names that an image's layers may have, and what the names of what was made of them all start
    /// with.</summary>
    public static IEnumerable<string> AllOf(IReadOnlyList<Digest> diffIds)
    {
        string[] chains = [.. Chains(diffIds)];
        return [.. diffIds.Select(Of), .. chains, .. chains.TakeLast(1).Select(chain => chain + FlattenedSuffix)];
    }

    /// <summary>Whether each of an image's layers has a name that is among these.</summary>
    public static bool AreAllAmong(IReadOnlyList<Digest> diffIds, IReadOnlyDictionary<string, long> names) =>
        diffIds.Count > 0 && diffIds.Select(Of).Zip(Chains(diffIds)).All(layer => names.ContainsKey(layer.First) || names.ContainsKey(layer.Second));

    /// <summary>The one of <see cref="AllOf"/> that a name in the store belongs to.</summary>
    public static string BaseOf(string name) => name.IndexOf(FlattenedSuffix, StringComparison.Ordinal) is >= 0 and var at ? name[..(at + FlattenedSuffix.Length)] : name;

    public static bool IsFlattened(string name) => name.Contains(FlattenedSuffix, StringComparison.Ordinal);

    /// <summary>Whether a file is named after something in the store.</summary>
    public static bool IsName(string name)
    {
        string layer = name.Split(FlattenedSuffix)[0];
        return Digest.TryParse(
            layer.StartsWith(Sha512Prefix, StringComparison.Ordinal) ? $"sha512:{layer[Sha512Prefix.Length..]}"
            : $"sha256:{(layer.StartsWith(ChainPrefix, StringComparison.Ordinal) ? layer[ChainPrefix.Length..] : layer)}",
            out _);
    }

    private static IEnumerable<string> Chains(IReadOnlyList<Digest> diffIds)
    {
        Digest chain = default;
        foreach (Digest diffId in diffIds)
        {
            chain = chain.IsEmpty ? diffId : Digest.FromHash("sha256", SHA256.HashData(Encoding.ASCII.GetBytes($"{chain} {diffId}")));
            yield return ChainPrefix + chain.Hex;
        }
    }
}
