namespace Xfn.Core.Bundles;

/// <summary>The directories that an image says its program writes to.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties">image-spec, Volumes</see>.</remarks>
internal static class ImageVolumes
{
    /// <summary>Where every function has a file system of its own already.</summary>
    private static readonly string[] Own = ["/proc", "/sys", "/dev"];

    /// <summary>More than any program needs. Each takes two mounts.</summary>
    private const int Most = 256;

    /// <summary>The most characters of all their paths together. Each directory above a volume is made by its own path, so deep
    /// ones cost the square of their length.</summary>
    private const int MostCharacters = 16 << 10;

    /// <summary>The volumes that are to be made, as absolute paths. Left out are the root itself, and those that the caller's
    /// mounts or every function's own file systems are in place of.</summary>
    /// <exception cref="InvalidImageException">There are too many, their paths are too long, or one is no path.</exception>
    public static IReadOnlyList<string> Of(BundleContext context, BundleOptions options)
    {
        if (context.Image.Config?.Volumes is not { Count: > 0 } declared || options.VolumeBytes == 0 || options.WritableRootBytes > 0)
            return [];
        if (declared.Count > Most)
            throw ImageProcess.Refuse(context, $"it has {declared.Count} volumes, at most {Most} are made");
        string[] paths = [.. declared.Keys.Select(volume => ImageProcess.AbsolutePath(context, volume, "the path of a volume")).Distinct()];
        if (paths.Sum(path => path.Length) > MostCharacters)
            throw ImageProcess.Refuse(context, $"the paths of its volumes are longer than {MostCharacters} characters together");
        return
        [
            .. paths.Where(path => path is not ("/" or "/tmp") && !Own.Any(own => MountPoints.IsBelow(path, own)))
                .Where(path => !options.ReadOnlyMounts.Any(mount => mount.Destination == path)),
        ];
    }
}
