using System.Runtime.InteropServices;

namespace Xfn.Core.Images;

/// <summary>Chooses from an index.</summary>
internal static class PlatformSelector
{
    /// <summary>This machine's platform, in Go's names.</summary>
    public static Platform Host { get; } = RuntimeInformation.OSArchitecture switch
    {
        Architecture.X64 => new Platform { Os = "linux", Architecture = "amd64" },
        Architecture.Arm64 => new Platform { Os = "linux", Architecture = "arm64", Variant = "v8" },
        Architecture.Arm => new Platform { Os = "linux", Architecture = "arm", Variant = "v7" },
        var other => new Platform { Os = "linux", Architecture = other.ToString().ToLowerInvariant() },
    };

    /// <summary>The first manifest or index for a platform; null when there is none.</summary>
    /// <remarks>Entries for an unknown platform are attestations. An entry that names no platform is tried last: a nested index, or the only image of a simple one.</remarks>
    public static Descriptor? Select(ImageIndex index, Platform platform) =>
        index.Manifests.FirstOrDefault(d => d.Platform is { } p && Matches(p, platform)) ?? index.Manifests.FirstOrDefault(d => d.Platform is null && IsImage(d));

    /// <summary>The platforms that an index has, for a message.</summary>
    public static string Describe(ImageIndex index)
    {
        string[] platforms = [.. index.Manifests.Where(d => d.Platform is not null and not { Os: "unknown" }).Select(d => d.Platform!.ToString()).Distinct()];
        return platforms.Length == 0 ? "none" : string.Join(", ", platforms);
    }

    private static bool IsImage(Descriptor d) =>
        d.MediaType is MediaTypes.OciManifest or MediaTypes.OciIndex or MediaTypes.DockerManifest or MediaTypes.DockerManifestList;

    private static bool Matches(Platform offered, Platform wanted) =>
        offered.Os == wanted.Os && offered.Architecture == wanted.Architecture && Normal(offered) == Normal(wanted);

    /// <summary>arm64 has one variant that matters, and arm without one is v7.</summary>
    private static string Normal(Platform platform) => (platform.Architecture, platform.Variant ?? "") switch
    {
        ("arm64", "v8") => "",
        ("arm", "") => "v7",
        var (_, variant) => variant,
    };
}
