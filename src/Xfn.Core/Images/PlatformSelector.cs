using System.Globalization;
using System.Runtime.InteropServices;

namespace Xfn.Core.Images;

/// <summary>Chooses from an index.</summary>
/// <remarks>As containerd and docker do: <c>v1</c> is plain amd64, <c>v8</c> plain arm64, a higher variant takes the
/// lower ones too, and an entry that names no platform has its configuration's.</remarks>
internal static class PlatformSelector
{
    /// <summary>This machine's platform, in Go's names; amd64 with the highest level that the processor has.</summary>
    public static Platform Host { get; } = RuntimeInformation.OSArchitecture switch
    {
        Architecture.X64 => new Platform { Os = "linux", Architecture = "amd64", Variant = ProcessorLevel.OfThisMachine is > 1 and var level ? $"v{level}" : null },
        Architecture.Arm64 => new Platform { Os = "linux", Architecture = "arm64", Variant = "v8" },
        Architecture.Arm => new Platform { Os = "linux", Architecture = "arm", Variant = "v7" },
        var other => new Platform { Os = "linux", Architecture = other.ToString().ToLowerInvariant() },
    };

    /// <summary>The entries that may hold an image for a platform, best first: those of the platform by variant, then
    /// those of none, which are indexes or are looked into. Declared artifacts come last, attestations never.</summary>
    public static IReadOnlyList<Descriptor> Candidates(ImageIndex index, Platform platform) =>
    [
        .. index.Manifests
            .Select(d => (Descriptor: d, Rank: RankOf(d, platform)))
            .Where(c => c.Rank >= 0)
            .OrderBy(c => !string.IsNullOrEmpty(c.Descriptor.ArtifactType))
            .ThenBy(c => c.Rank)
            .Select(c => c.Descriptor),
    ];

    /// <summary>Whether an image of a configuration runs on a platform. One that names none runs on any.</summary>
    public static bool Suits(ImageConfig config, Platform platform)
    {
        Platform offered = Of(config);
        return !IsNamed(offered) || Rank(offered, platform) >= 0;
    }

    public static Platform Of(ImageConfig config) => new() { Os = config.Os, Architecture = config.Architecture, Variant = config.Variant };

    public static bool NamesPlatform(Descriptor descriptor) => IsNamed(descriptor.Platform);

    public static IEnumerable<string> Describe(ImageIndex index) =>
        index.Manifests.Where(d => NamesPlatform(d) && !IsAttestation(d)).Select(d => d.Platform!.ToString());

    private static int RankOf(Descriptor descriptor, Platform wanted) =>
        IsAttestation(descriptor) ? -1
        : NamesPlatform(descriptor) ? Rank(descriptor.Platform!, wanted)
        : descriptor.MediaType is MediaTypes.OciManifest or MediaTypes.OciIndex or MediaTypes.DockerManifest or MediaTypes.DockerManifestList ? int.MaxValue
        : -1;

    private static bool IsNamed(Platform? platform) => !string.IsNullOrEmpty(platform?.Os) && !string.IsNullOrEmpty(platform.Architecture);

    /// <summary>BuildKit's, which it lists for an unknown platform.</summary>
    private static bool IsAttestation(Descriptor descriptor) =>
        descriptor.Platform is { Os: "unknown" } or { Architecture: "unknown" } || descriptor.Annotations?.ContainsKey("vnd.docker.reference.type") == true;

    /// <summary>How many platforms would be better than the offered one; -1 when that one is not wanted.</summary>
    private static int Rank(Platform offered, Platform wanted)
    {
        (string os, string architecture, string variant) = Normal(offered);
        (string wantedOs, string wantedArchitecture, string best) = Normal(wanted);
        return os == wantedOs && architecture == wantedArchitecture ? Array.IndexOf(Taken(architecture, best), variant) : -1;
    }

    /// <summary>The variants that a variant takes, itself first.</summary>
    private static string[] Taken(string architecture, string best)
    {
        int lowest = architecture switch { "amd64" => 1, "arm" => 5, "arm64" => 8, _ => 0 };
        if (lowest == 0)
            return [best];
        return best is ['v', .. var digits] && int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int level) && level is < 16 && level >= lowest
            ? [.. Enumerable.Range(lowest, level - lowest + 1).Reverse().Select(n => $"v{n}")]
            : [best, $"v{lowest}"];
    }

    /// <summary>A platform in Go's names, with the variant that is meant where none is written.</summary>
    private static (string Os, string Architecture, string Variant) Normal(Platform platform)
    {
        string variant = platform.Variant?.ToLowerInvariant() ?? "";
        if (variant.Length > 0 && char.IsAsciiDigit(variant[0]))
            variant = "v" + variant;
        (string architecture, string usual) = platform.Architecture.ToLowerInvariant() switch
        {
            "amd64" or "x86_64" or "x86-64" => ("amd64", "v1"),
            "arm64" or "aarch64" => ("arm64", "v8"),
            "arm" or "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            "i386" => ("386", ""),
            var other => (other, ""),
        };
        return (platform.Os.ToLowerInvariant(), architecture, variant.Length > 0 ? variant : usual);
    }
}
