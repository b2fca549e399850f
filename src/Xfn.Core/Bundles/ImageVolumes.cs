namespace Xfn.Core.Bundles;

/// <summary>The directories that an image says its program writes to: image-spec,
/// <see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties">Volumes</see>.</summary>
internal static class ImageVolumes
{
    /// <summary>Where every function has a file system of its own already.</summary>
    private static readonly string[] Own = ["/proc", "/sys", "/dev"];

    /// <summary>More than any program needs. Each takes two mounts.</summary>
    private const int Most = 256;

    /// <summary>The most characters of their paths together: deep ones cost the square of their length.</summary>
    private const int MostCharacters = 16 << 10;

    /// <summary>The volumes to make, as absolute paths: not the root, nor those that the caller's mounts or every
    /// function's own file systems replace.</summary>
    /// <exception cref="InvalidImageException">They are too many, their paths too long, or one is no path.</exception>
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
