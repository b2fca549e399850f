using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Rendering;

/// <summary>Ids and names that Crossplane makes, the same each time.</summary>
internal static partial class ResourceNames
{
    private const int LongestMade = 63, LongestName = 253;

    /// <summary>The uid of a composite resource that has none: a name-based UUID (RFC 9562, version 5, of the nil
    /// namespace).</summary>
    public static string MakeUid(Struct composite)
    {
        string apiVersion = composite.ApiVersion();
        byte[] name = Encoding.UTF8.GetBytes($"{apiVersion}, Kind={composite.Kind()}\0{composite.Namespace()}\0{composite.Name()}");

#pragma warning disable CA5350 // RFC 9562 wants SHA-1 for a UUID of version 5; nothing depends on its strength.
        byte[] hash = SHA1.HashData([.. new byte[16], .. name]);
#pragma warning restore CA5350
        hash[6] = (byte)((hash[6] & 0x0F) | 0x50);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return new Guid(hash.AsSpan(0, 16), bigEndian: true).ToString();
    }

    /// <summary>The name of a composed resource that has only a beginning of one.</summary>
    /// <param name="prefix">The beginning, with its hyphen. Where it is too long, its end is left out.</param>
    /// <param name="owner">The uid of the composite resource.</param>
    /// <param name="resource">The resource's name in the composition.</param>
    public static string Make(string prefix, string owner, string resource)
    {
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(owner + resource)))[..12];
        return prefix[..Math.Min(prefix.Length, LongestMade - hash.Length)] + hash;
    }

    /// <summary>Whether Kubernetes takes a name: a subdomain of RFC 1123, with colons where it is one of its access
    /// rules.</summary>
    public static bool IsName(string name, string apiVersion) =>
        name.Length <= LongestName && Subdomain().IsMatch(KubernetesObject.GroupOf(apiVersion) == "rbac.authorization.k8s.io" ? name.Replace(':', '-') : name);

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex Subdomain();
}
