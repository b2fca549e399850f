using System.Text;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Mounts;

/// <summary>Mounts in a root that is mounted already. Every path is found as a program in the root would find it: links are followed, but never out of the root.</summary>
internal static unsafe class RootFiles
{
    /// <summary>Mounts files over those of the root. One whose way leads nowhere is left out; so are links, over which nothing can be mounted.</summary>
    /// <param name="workspace">Where the files are made.</param>
    /// <param name="root">The root's path.</param>
    /// <param name="files">The files.</param>
    /// <param name="writable">Whether they can be written to, as the root can.</param>
    public static void Bind(ScratchTmpfs workspace, string root, IReadOnlyList<ContainerFile> files, bool writable)
    {
        files = [.. files.Where(file => !file.IsLink)];
        if (files.Count == 0)
            return;
        int rootFd = Directories.Open(root);
        string directory = workspace.NewDirectory("files");
        for (int i = 0; i < files.Count; i++)
        {
            int target = Open(rootFd, files[i].Path);
            if (target < 0)
                continue;
            string targetPath = $"/proc/self/fd/{target}", source = $"{directory}/{i}";
            byte[] image = files[i].FollowsImage ? ReadImage(targetPath) : [];
            Write(source, image, files[i].Content.Span);
            if (Libc.mount(source, targetPath, null, Libc.MS_BIND, null) != 0)
                throw SparkException.FromErrno($"cannot mount '{files[i].Path}' in the root");
            _ = Libc.close(target);
            if (writable)
                continue;

            // What is mounted there is opened now.
            target = Open(rootFd, files[i].Path);
            if (Libc.mount("xfn", $"/proc/self/fd/{target}", null, Libc.MS_REMOUNT | Libc.MS_BIND | Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV, null) != 0)
                throw SparkException.FromErrno($"cannot make '{files[i].Path}' read-only");
            _ = Libc.close(target);
        }

        _ = Libc.close(rootFd);
    }

    /// <summary>Writes a file: what the image has in its place, and what is to come behind it.</summary>
    public static void Write(string path, ReadOnlySpan<byte> image, ReadOnlySpan<byte> content)
    {
        int fd = Libc.open(path, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_CLOEXEC, 0b110_100_100);
        if (fd < 0)
            throw SparkException.FromErrno($"cannot make '{path}'");
        using var file = new Microsoft.Win32.SafeHandles.SafeFileHandle(fd, ownsHandle: true);
        long offset = image.Length;
        RandomAccess.Write(file, image, 0);
        if (offset > 0 && image[^1] != '\n')
            RandomAccess.Write(file, "\n"u8, offset++);
        RandomAccess.Write(file, content, offset);
    }

    /// <summary>Opens a path of the root.</summary>
    /// <returns>The descriptor, or the negative error number.</returns>
    public static int Open(int root, string path)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            int fd = Libc.OpenAt2(root, name, Libc.O_PATH | Libc.O_CLOEXEC, Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS);
            return fd >= 0 ? fd : -Libc.Errno;
        }
    }

    /// <summary>Finds where a path of the root leads when what is not there counts as a directory, as docker finds it.</summary>
    /// <returns>A path without links, relative to the root; null when something on the way is no directory, or there are too
    /// many links.</returns>
    public static string? Resolve(int root, string path)
    {
        // As many as the kernel follows.
        const int mostLinks = 40;
        int links = 0;
        var found = new List<string>();
        var rest = new Stack<string>(path.Split('/').Reverse());
        while (rest.TryPop(out string? name))
        {
            if (name == "..")
                found.RemoveRange(Math.Max(found.Count - 1, 0), Math.Min(found.Count, 1));
            if (name is "" or "." or "..")
                continue;
            found.Add(name);
            switch (Look(root, string.Join('/', found), out string target))
            {
                case Libc.S_IFLNK when ++links <= mostLinks:
                    found.RemoveRange(target.StartsWith('/') ? 0 : found.Count - 1, target.StartsWith('/') ? found.Count : 1);
                    foreach (string part in target.Split('/').Reverse())
                        rest.Push(part);
                    break;
                case Libc.S_IFDIR or 0:
                    break;
                default:
                    return null;
            }
        }

        return string.Join('/', found);
    }

    /// <summary>Looks at a path without links.</summary>
    /// <returns>Its type, 0 when there is nothing, and all bits when it cannot be looked at.</returns>
    private static uint Look(int root, string path, out string target)
    {
        const int page = 4096;
        target = "";
        byte* buffer = stackalloc byte[page];
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'), empty = "\0"u8)
        {
            int fd = Libc.OpenAt2(root, name, Libc.O_PATH | Libc.O_NOFOLLOW | Libc.O_CLOEXEC, Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_SYMLINKS);
            if (fd < 0)
                return Libc.Errno == Libc.ENOENT ? 0 : uint.MaxValue;
            uint type = Libc.Status(fd, out Libc.FileStatus status) == 0 ? status.Type : uint.MaxValue;
            if (type == Libc.S_IFLNK)
                target = Encoding.UTF8.GetString(buffer, (int)Math.Max(Libc.readlinkat(fd, empty, buffer, page), 0));
            _ = Libc.close(fd);

            // A name that is no text cannot be made here.
            return target.Contains('\ufffd') ? uint.MaxValue : type;
        }
    }

    private static byte[] ReadImage(string path)
    {
        // Opened by way of its descriptor, so it is the file that was found.
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0);
        if (fd < 0)
            return [];
        using var file = new Microsoft.Win32.SafeHandles.SafeFileHandle(fd, ownsHandle: true);
        return Libc.IsRegularFile(fd) ? ImageDirectory.Read(file) : [];
    }
}
