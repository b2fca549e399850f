namespace Xfn.Core.Bundles;

/// <summary>The directories that an image says its program writes to.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties">image-spec, Volumes</see>.</remarks>
internal static class ImageVolumes
{
    /// <summary>Where every function has a file system of its own already.</summary>
    private static readonly string[] Own = ["/proc", "/sys", "/dev"];

    /// <summary>More than any program needs. Each takes two mounts.</summary>
    private const int Most = 256;

    /// <summary>The volumes that are to be made, as absolute paths. Left out are the root itself, and those that the caller's
    /// mounts or every function's own file systems are in place of.</summary>
    /// <exception cref="InvalidImageException">There are too many, or one is no path.</exception>
    public static IReadOnlyList<string> Of(BundleContext context, BundleOptions options)
    {
        if (context.Image.Config?.Volumes is not { Count: > 0 } declared || options.VolumeBytes == 0 || options.WritableRootBytes > 0)
            return [];
        if (declared.Count > Most)
            throw ProcessPlan.Refuse(context, $"it has {declared.Count} volumes, at most {Most} are made");
        return
        [
            .. declared.Keys.Select(volume => Normalize(context, volume)).Distinct()
                .Where(volume => volume is not ("/" or "/tmp") && !Own.Any(own => MountPoints.IsBelow(volume, own)))
                .Where(volume => !options.ReadOnlyMounts.Any(mount => mount.Destination == volume)),
        ];
    }

    private static string Normalize(BundleContext context, string volume)
    {
        if (volume.Contains('\0'))
            throw ProcessPlan.Refuse(context, "the path of a volume holds NUL");

        // A relative one counts from the root, and nothing leads above it, as docker has it.
        var path = new List<string>();
        foreach (string component in volume.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(component => component != "."))
        {
            if (component != "..")
                path.Add(component);
            else if (path.Count > 0)
                path.RemoveAt(path.Count - 1);
        }

        return "/" + string.Join('/', path);
    }
}
