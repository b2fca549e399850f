using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Mounts;

/// <summary>A root's parts besides the layers: mount points above, and below what the image may lack.</summary>
internal sealed class MountPointTree(SparkRoot root)
{
    private const string Top = "mountpoints";

    private readonly List<SparkRootFile> _unplaced = [];

    public SparkRoot Root => root;

    /// <summary>The files without a place: the image has something other than a directory on their way.</summary>
    public IReadOnlyList<SparkRootFile> Unplaced => _unplaced;

    /// <summary>Where a file of the tree above the layers is.</summary>
    public static string PathOf(ScratchTmpfs scratch, string file) => scratch[$"{Top}/{file}"];

    /// <summary>Makes the tree above the layers. Its root gives the container's root mode and owner.</summary>
    /// <param name="scratch">Where to make it.</param>
    public string Make(ScratchTmpfs scratch)
    {
        string top = scratch.NewDirectory(Top, root.Mode);
        Make(top, root.MountPoints);
        foreach (string directory in root.MountPoints.Where(IsLeaf))
            HideLower($"{top}/{directory}");
        foreach (string file in root.FileMountPoints)
        {
            using Descriptor fd = Libc.open($"{top}/{file}", Libc.O_WRONLY | Libc.O_CREAT | Libc.O_CLOEXEC, 0b110_100_100);
            if (fd < 0)
                throw SparkException.FromErrno($"cannot make mount point '{file}'");
        }

        for (List<SparkRootFile> files = [.. root.Files]; files.Count > 0;)
        {
            string directory = Path.GetDirectoryName(files[0].Path) ?? "";
            MakeFiles(top, directory, files.FindAll(IsThere));
            files.RemoveAll(IsThere);

            bool IsThere(SparkRootFile file) => (Path.GetDirectoryName(file.Path) ?? "") == directory;
        }

        // Last: it may take away the right to write.
        return Own(top);
    }

    /// <summary>Makes files of one directory, which stays as the image has it.</summary>
    private void MakeFiles(string top, string directory, IEnumerable<SparkRootFile> files)
    {
        using var image = new ImageDirectory(root.Layers.Directories, directory);
        if (image.IsOther)
        {
            _unplaced.AddRange(files);
            return;
        }

        Make(top, Parents(directory));
        foreach (SparkRootFile file in files)
        {
            if (!file.IsLink)
                ScratchTmpfs.WriteFile($"{top}/{file.Path}", file.FollowsImage ? image.ReadFile(Path.GetFileName(file.Path)) : [], file.Content.Span);
            else if (Libc.symlink(Encoding.UTF8.GetString(file.Content.Span), $"{top}/{file.Path}") != 0)
                throw SparkException.FromErrno($"cannot make link '{file.Path}'");
        }

        image.CopyModeAndOwner($"{top}/{directory}");
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
    public string Own(string directory) => (root.Uid, root.Gid) == (0, 0) || Libc.chown(directory, root.Uid, root.Gid) == 0
        ? directory
        : throw SparkException.FromErrno("cannot set the owner of the root directory");

    /// <summary>Makes the tree below the layers; null when nothing is wanted there.</summary>
    public string? MakeBottom(ScratchTmpfs scratch)
    {
        if (root.Directories.Count == 0)
            return null;
        string bottom = scratch.NewDirectory("bottom");
        Make(bottom, root.Directories);
        return bottom;
    }

    /// <summary>Makes those of the <see cref="SparkRoot.Directories"/> that the root lacks although they lie below its
    /// layers: a link leads elsewhere, or a layer hides what is below it. They are made where the links lead, as docker
    /// does.</summary>
    /// <param name="rootFd">The root.</param>
    /// <param name="targetFd">Where to make them: the tree above the layers, or the root itself. Directories on the way
    /// that the root has keep mode and owner.</param>
    /// <returns>Whether there were any.</returns>
    public bool MakeMissing(int rootFd, int targetFd)
    {
        bool made = false;
        foreach (string directory in root.Directories)
        {
            using Descriptor fd = RootFiles.Open(rootFd, directory);

            // Nothing of what is made below a mount point would be seen.
            if (fd != -Libc.ENOENT || RootFiles.Resolve(rootFd, directory) is not { } path || root.MountPoints.Where(IsLeaf).Any(point => path.StartsWith(point + '/', StringComparison.Ordinal)))
                continue;
            foreach (string part in Parents(path))
                MakeMissing(part, rootFd, targetFd);
            made = true;
        }

        return made;
    }

    private static void MakeMissing(string path, int rootFd, int targetFd)
    {
        using Descriptor parent = ConfinedPath.Open(targetFd, Encoding.UTF8.GetBytes(Path.GetDirectoryName(path)!));
        if (parent < 0)
            throw SparkException.FromErrno($"cannot make directory '/{path}'", -parent, SparkFailureKind.Image);
        string name = Path.GetFileName(path);
        int errno = Libc.mkdirat(parent, name, 0b111_101_101) == 0 ? 0 : Libc.Errno;
        if (errno == Libc.EEXIST)
            return;
        if (errno != 0)
            throw SparkException.FromErrno($"cannot make directory '/{path}'", errno, SparkFailureKind.Image);
        using Descriptor existing = RootFiles.Open(rootFd, path);
        if (existing < 0)
            return;
        using Descriptor own = Directories.Open(name, parent);
        Directories.CopyModeAndOwner(existing, own);
    }

    /// <summary>Whether nothing of the image shows below a mount point: what is mounted there covers it all.</summary>
    private bool IsLeaf(string directory) => !root.MountPoints.Concat(root.FileMountPoints).Concat(root.Files.Select(file => file.Path)).Any(other => other.StartsWith(directory + '/', StringComparison.Ordinal));

    /// <summary>Spares the kernel a look into every layer. Some kernels refuse the mark on a tmpfs; no harm.</summary>
    private static void HideLower(string directory) => _ = Libc.setxattr(directory, "user.overlay.opaque", "y"u8, 1, 0);

    private static void Make(string top, IEnumerable<string> directories)
    {
        foreach (string directory in directories)
            ScratchTmpfs.MakeDirectory($"{top}/{directory}");
    }
}

/// <summary>A directory of an image before its layers are mounted, as an overlay would show it.</summary>
internal sealed class ImageDirectory : IDisposable
{
    /// <summary>The most that is read of a file.</summary>
    private const int MaxFileBytes = 64 << 10;

    private readonly List<int> _directories = [];

    /// <summary>Whether the image has a link or a file in the directory's place, or on the way there.</summary>
    public bool IsOther { get; private set; }

    /// <summary>Opens a directory.</summary>
    /// <param name="layers">The layers' directories, the uppermost first.</param>
    /// <param name="path">Relative to the root.</param>
    public ImageDirectory(IReadOnlyList<string> layers, string path)
    {
        foreach (string layer in layers)
        {
            byte[] name = Encoding.UTF8.GetBytes($"{layer}/{path}\0");
            int fd = Libc.OpenAt2(Libc.AT_FDCWD, name, Libc.O_RDONLY | Processor.O_DIRECTORY | Processor.O_NOFOLLOW | Libc.O_CLOEXEC, Libc.RESOLVE_NO_SYMLINKS);
            if (fd == -Libc.ENOENT)
                continue;
            if (fd < 0)
            {
                // It hides the layers below. A whiteout hides them too, and shows nothing.
                bool isWhiteout = Libc.Status(Libc.AT_FDCWD, name, out Libc.FileStatus status) == 0 && status.IsWhiteout;
                IsOther = _directories.Count == 0 && !isWhiteout;
                return;
            }

            _directories.Add(fd);
            if (Directories.IsOpaque(fd))
                return;
        }
    }

    /// <summary>Gives a directory mode and owner of this one, when the image has it.</summary>
    public void CopyModeAndOwner(string directory)
    {
        if (_directories.Count == 0)
            return;
        using Descriptor to = Directories.Open(directory);
        Directories.CopyModeAndOwner(_directories[0], to);
    }

    /// <summary>Reads a file: nothing where there is none, or no regular one. A link is not followed.</summary>
    public byte[] ReadFile(string name)
    {
        foreach (int directory in _directories)
        {
            int fd = Libc.openat(directory, name, Libc.O_RDONLY | Processor.O_NOFOLLOW | Libc.O_NONBLOCK | Libc.O_CLOEXEC);
            if (fd >= 0 || Libc.Errno != Libc.ENOENT)
                return Read(fd);
        }

        return [];
    }

    /// <summary>Reads a regular file of an image, up to the limit, and closes it; nothing of anything else.</summary>
    /// <param name="fd">The file; negative for none.</param>
    public static byte[] Read(int fd)
    {
        if (fd < 0)
            return [];
        using var file = new SafeFileHandle(fd, ownsHandle: true);
        if (!Libc.IsRegularFile(fd))
            return [];
        var content = new byte[Math.Min(RandomAccess.GetLength(file), MaxFileBytes)];
        int read = 0;
        while (read < content.Length && RandomAccess.Read(file, content.AsSpan(read), read) is > 0 and var count)
            read += count;
        return content[..read];
    }

    public void Dispose()
    {
        foreach (int directory in _directories)
            _ = Libc.close(directory);
    }
}
