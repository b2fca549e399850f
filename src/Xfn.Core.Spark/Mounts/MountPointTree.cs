using System.Text;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Mounts;

/// <summary>What a root has besides the image's layers: above them mount points, below them what the image may lack.</summary>
internal sealed record MountPointTree
{
    public IReadOnlyList<string> MountPoints { get; init; } = [];

    public IReadOnlyList<string> FileMountPoints { get; init; } = [];

    public IReadOnlyList<string> Directories { get; init; } = [];

    public IReadOnlyList<ContainerFile> Files { get; init; } = [];

    /// <summary>The <see cref="Files"/> for which there was no place, since the image has something else than a directory on their way.</summary>
    public IReadOnlyList<ContainerFile> Unplaced => _unplaced;

    private readonly List<ContainerFile> _unplaced = [];

    public uint RootMode { get; init; } = 0b111_101_101;

    public uint RootUid { get; init; }

    public uint RootGid { get; init; }

    /// <summary>Makes the tree above the layers. Its root is what mode and owner of the container's root are taken from.</summary>
    /// <param name="workspace">Where to make it.</param>
    /// <param name="layers">The layers, the uppermost first.</param>
    public string Make(ScratchTmpfs workspace, IReadOnlyList<string> layers)
    {
        string root = workspace.NewDirectory("skeleton", RootMode);
        Make(root, MountPoints);
        foreach (string directory in MountPoints.Where(IsLeaf))
            HideLower($"{root}/{directory}");
        foreach (string file in FileMountPoints)
        {
            int fd = Libc.open($"{root}/{file}", Libc.O_WRONLY | Libc.O_CREAT | Libc.O_CLOEXEC, 0b110_100_100);
            if (fd < 0)
                throw SparkException.FromErrno($"cannot make mount point '{file}'");
            Libc.close(fd);
        }

        foreach (IGrouping<string, ContainerFile> files in Files.GroupBy(file => Path.GetDirectoryName(file.Path) ?? ""))
            MakeFiles(layers, root, files.Key, files);

        // Last: it may take away the right to write.
        return Own(root);
    }

    /// <summary>Makes files of one directory, which stays as the image has it.</summary>
    private void MakeFiles(IReadOnlyList<string> layers, string root, string directory, IEnumerable<ContainerFile> files)
    {
        using var image = new ImageDirectory(layers, directory);
        if (image.IsOther)
        {
            _unplaced.AddRange(files);
            return;
        }

        Make(root, Parents(directory));
        foreach (ContainerFile file in files)
        {
            if (!file.IsLink)
                RootFiles.Write($"{root}/{file.Path}", file.FollowsImage ? image.ReadFile(Path.GetFileName(file.Path)) : [], file.Content.Span);
            else if (Libc.symlink(System.Text.Encoding.UTF8.GetString(file.Content.Span), $"{root}/{file.Path}") != 0)
                throw SparkException.FromErrno($"cannot make link '{file.Path}'");
        }

        image.CopyModeAndOwner($"{root}/{directory}");
    }

    /// <summary>A directory and those above it, the first one first.</summary>
    private static IEnumerable<string> Parents(string directory)
    {
        for (int end = directory.IndexOf('/'); end >= 0; end = directory.IndexOf('/', end + 1))
            yield return directory[..end];
        if (directory.Length > 0)
            yield return directory;
    }

    /// <summary>Gives a directory to the owner of the container's root.</summary>
    /// <returns>Its path.</returns>
    public string Own(string directory) => (RootUid, RootGid) == (0, 0) || Libc.chown(directory, RootUid, RootGid) == 0
        ? directory
        : throw SparkException.FromErrno("cannot set the owner of the root directory");

    /// <summary>Makes the tree below the layers; null when nothing is wanted there.</summary>
    public string? MakeBottom(ScratchTmpfs workspace)
    {
        if (Directories.Count == 0)
            return null;
        string root = workspace.NewDirectory("bottom");
        Make(root, Directories);
        return root;
    }

    /// <summary>Makes those of the <see cref="Directories"/> that the root lacks although they lie below its layers: a link leads
    /// elsewhere, or a layer hides what is below it. They are made where the links lead, as docker does.</summary>
    /// <param name="rootFd">The root.</param>
    /// <param name="targetFd">Where to make them: the tree above the layers, or the root itself. Directories on the way that the
    /// root has keep mode and owner.</param>
    /// <returns>Whether there were any.</returns>
    public bool MakeMissing(int rootFd, int targetFd)
    {
        bool made = false;
        foreach (string directory in Directories)
        {
            int fd = RootFiles.Open(rootFd, directory);
            if (fd >= 0)
                _ = Libc.close(fd);

            // Nothing of what is made below a mount point would be seen.
            if (fd != -Libc.ENOENT || RootFiles.Resolve(rootFd, directory) is not { } path || MountPoints.Where(IsLeaf).Any(point => path.StartsWith(point + '/', StringComparison.Ordinal)))
                continue;
            foreach (string part in Parents(path))
                MakeMissing(part, rootFd, targetFd);
            made = true;
        }

        return made;
    }

    private static unsafe void MakeMissing(string path, int rootFd, int targetFd)
    {
        int parent = ConfinedPath.Open(targetFd, Encoding.UTF8.GetBytes(Path.GetDirectoryName(path)!));
        if (parent < 0)
            throw SparkException.FromErrno($"cannot make directory '/{path}'", -parent, SparkFailureKind.Image);
        string name = Path.GetFileName(path);
        int result = Libc.mkdirat(parent, name, 0b111_101_101), errno = Libc.Errno;
        if (result != 0 && errno != Libc.EEXIST)
            throw SparkException.FromErrno($"cannot make directory '/{path}'", errno, SparkFailureKind.Image);
        int existing = result == 0 ? RootFiles.Open(rootFd, path) : -Libc.EEXIST;
        if (existing >= 0)
        {
            int own = Spark.Files.Directories.Open(name, parent);
            Spark.Files.Directories.CopyModeAndOwner(existing, own);
            _ = Libc.close(own);
            _ = Libc.close(existing);
        }

        _ = Libc.close(parent);
    }

    /// <summary>Whether nothing of the image is to be seen below a mount point: what is mounted there covers all of it.</summary>
    private bool IsLeaf(string directory) => !MountPoints.Concat(FileMountPoints).Concat(Files.Select(file => file.Path)).Any(other => other.StartsWith(directory + '/', StringComparison.Ordinal));

    /// <summary>Spares the kernel looking for a directory in every layer. Not all versions let a tmpfs have the mark, and nothing depends on it.</summary>
    private static unsafe void HideLower(string directory)
    {
        fixed (byte* path = System.Text.Encoding.UTF8.GetBytes(directory + '\0'), name = "user.overlay.opaque\0"u8, yes = "y"u8)
            _ = Libc.setxattr(path, name, yes, 1, 0);
    }

    private static void Make(string root, IEnumerable<string> directories)
    {
        foreach (string directory in directories)
            ScratchTmpfs.MakeDirectory($"{root}/{directory}");
    }
}
