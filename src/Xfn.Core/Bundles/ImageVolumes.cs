namespace Xfn.Core.Bundles;

/// <summary>The directories that an image says its program writes to.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties">image-spec, Volumes</see>.</remarks>
internal static class ImageVolumes
{
    /// <summary>Where every function has a file system of its own already.</summary>
    private static readonly string[] Own = ["/proc", "/sys", "/dev"];

    /// <summary>The volumes that are to be made, as absolute paths; those that the root or the caller's own mounts have are left out.</summary>
    /// <exception cref="InvalidImageException">A volume is no path of a directory.</exception>
    public static IReadOnlyList<string> Of(BundleContext context, BundleOptions options)
    {
        if (context.Image.Config?.Volumes is not { Count: > 0 } declared || options.VolumeBytes == 0 || options.WritableRootBytes > 0)
            return [];
        return
        [
            .. declared.Keys.Select(volume => Normalize(context, volume)).Distinct()
                .Where(volume => volume != "/tmp" && !Own.Any(own => MountPoints.IsBelow(volume, own)))
                .Where(volume => !options.ReadOnlyMounts.Any(mount => mount.Destination == volume)),
        ];
    }

    private static string Normalize(BundleContext context, string volume)
    {
        // A relative one counts from the root, as docker has it.
        string[] components = volume.Split('/', StringSplitOptions.RemoveEmptyEntries);
        string path = "/" + string.Join('/', components.Where(component => component != "."));
        return path != "/" && !components.Contains("..") && !volume.Contains('\0')
            ? path
            : throw ProcessPlan.Refuse(context, $"its volume '{volume}' is no path below the root");
    }
}
