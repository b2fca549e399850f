namespace Xfn.Core.Bundles;

/// <summary>Paths that a root must hold for a container, relative to it: each once, parents first.</summary>
internal sealed class MountPoints
{
    private readonly List<string> _directories = [];
    private readonly List<string> _files = [];

    private MountPoints(IEnumerable<string> wanted) => Wanted = [.. wanted.SelectMany(path => WithParents(path)).Distinct()];

    /// <summary>Mount points: they must be real directories, whatever the image has there.</summary>
    public IReadOnlyList<string> Directories => _directories;

    /// <summary>Mount points of single files, likewise; their directories are in <see cref="Directories"/>.</summary>
    public IReadOnlyList<string> Files => _files;

    /// <summary>Directories that are made where the image has nothing: the working directory and the volumes.</summary>
    public IReadOnlyList<string> Wanted { get; }

    /// <summary>Says what a container needs.</summary>
    /// <param name="container">The container.</param>
    /// <param name="sources">What its request mounts of this machine. Null, the default, for nothing.</param>
    /// <exception cref="ContainerEnvironmentException">What is to be bound is not there, or a path is none.</exception>
    public static MountPoints Of(ContainerSpecification container, IReadOnlyList<BindSource>? sources = null)
    {
        foreach (string path in container.Mounts.Select(m => m.Destination).Concat(container.Volumes).Concat(container.Files.Select(f => f.Path)).Prepend(container.Process.WorkingDirectory))
        {
            if (!IsPath(path))
                throw SparkContainers.Refuse($"'{path}' is no absolute path without empty, '.' and '..' components. Write it whole");
        }

        var points = new MountPoints(container.Volumes.Prepend(container.Process.WorkingDirectory));
        for (int i = 0; i < container.Mounts.Count; i++)
        {
            ContainerMount mount = container.Mounts[i];
            bool isMade = RequestMounts.IsMade(mount);
            bool isFile = isMade ? RequestMounts.IsFile(mount, sources ?? []) : mount.Type == "bind" && !Directory.Exists(mount.Source);
            if (isFile && !isMade && !File.Exists(mount.Source))
            {
                throw new ContainerEnvironmentException(RunStage.Bundle,
                    $"cannot mount '{mount.Source}' at '{mount.Destination}': there is no such file or directory, or it cannot be reached. Make it, or leave the mount out.");
            }

            // In what was mounted before, mount points are made there: by who makes the container, or by the kernel.
            if (IsCovered(container.Mounts.Take(i), mount.Destination))
                continue;
            if (isFile)
                points.AddFile(mount.Destination);
            else
                points.AddDirectory(mount.Destination);
        }

        return points;
    }

    /// <summary>Whether a path lies in one of some mounts.</summary>
    public static bool IsCovered(IEnumerable<ContainerMount> mounts, string path) => mounts.Any(mount => IsBelow(path, mount.Destination));

    /// <summary>Whether a text is an absolute path without empty, <c>.</c> and <c>..</c> components.</summary>
    public static bool IsPath(string? path) =>
        path is ['/', ..] && !path.Contains('\0') && path.Length < 4096
        && (path == "/" || path[1..].Split('/').All(c => c is not ("" or "." or "..")));

    /// <summary>Whether an absolute path is a directory or lies below it.</summary>
    public static bool IsBelow(string path, string directory) =>
        path.StartsWith(directory, StringComparison.Ordinal) && (path.Length == directory.Length || path[directory.Length] == '/');

    private void AddDirectory(string path) => _directories.AddRange(WithParents(path).Except(_directories));

    private void AddFile(string path)
    {
        AddDirectory(Path.GetDirectoryName(path)!);
        _files.Add(path.TrimStart('/'));
    }

    /// <summary>An absolute path and the directories above it, relative to the root, the first one first.</summary>
    private static IEnumerable<string> WithParents(string path)
    {
        string[] components = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        return components.Select((_, i) => string.Join('/', components[..(i + 1)]));
    }
}
