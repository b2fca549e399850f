using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Mounts;

/// <summary>A directory of an image before its layers are mounted: of each layer that has it, what an overlay would show.</summary>
internal sealed class ImageDirectory : IDisposable
{
    /// <summary>The most that is read of a file.</summary>
    private const int MaxFileBytes = 64 << 10;

    private readonly List<int> _directories = [];

    /// <summary>Whether the image has something else in the directory's place, or on the way there: a link, or a file.</summary>
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
            if (LayerFlattener.IsOpaque(fd))
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

    /// <summary>Reads a regular file of an image, as much as is taken of one, and closes it; nothing of anything
    /// else.</summary>
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
