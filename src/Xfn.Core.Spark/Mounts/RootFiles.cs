using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Mounts;

/// <summary>Mounts in a mounted root. Paths lead where a program there finds them, but never out of it.</summary>
internal static class RootFiles
{
    private const string Files = "files";

    /// <summary>Mounts files over the root's. Skips paths that lead nowhere, and links, which take no mount.</summary>
    /// <param name="scratch">Where the files are made.</param>
    /// <param name="root">The root's path.</param>
    /// <param name="files">The files.</param>
    /// <param name="writable">Whether they can be written to, as the root can.</param>
    public static void Bind(ScratchTmpfs scratch, string root, IReadOnlyList<SparkRootFile> files, bool writable)
    {
        files = [.. files.Where(file => !file.IsLink)];
        if (files.Count == 0)
            return;
        using Descriptor rootFd = Directories.Open(root);
        _ = scratch.NewDirectory(Files);
        for (int i = 0; i < files.Count; i++)
        {
            using Descriptor target = Open(rootFd, files[i].Path);
            if (target < 0)
                continue;
            string targetPath = $"/proc/self/fd/{(int)target}", source = PathOf(scratch, i);

            // Opened by way of its descriptor, so it is the file that was found.
            byte[] image = files[i].FollowsImage ? ImageDirectory.Read(Libc.open(targetPath, Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_CLOEXEC)) : [];
            ScratchTmpfs.WriteFile(source, image, files[i].Content.Span);
            if (Libc.mount(source, targetPath, null, Libc.MS_BIND, null) != 0)
                throw SparkException.FromErrno($"cannot mount '{files[i].Path}' in the root");
            if (writable)
                continue;

            // What is mounted there is opened now.
            using Descriptor mounted = Open(rootFd, files[i].Path);
            const nuint flags = Libc.MS_REMOUNT | Libc.MS_BIND | Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV;
            if (Libc.mount("xfn", $"/proc/self/fd/{(int)mounted}", null, flags, null) != 0)
                throw SparkException.FromErrno($"cannot make '{files[i].Path}' read-only");
        }
    }

    /// <summary>Where a file that was mounted so is; null when it was not.</summary>
    public static string? PathOf(ScratchTmpfs scratch, IReadOnlyList<SparkRootFile> files, string path) =>
        files.Where(file => !file.IsLink).Index().FirstOrDefault(file => file.Item.Path == path) is (var i, not null) ? PathOf(scratch, i) : null;

    private static string PathOf(ScratchTmpfs scratch, int index) => scratch[$"{Files}/{index}"];

    /// <summary>Opens a path of the root.</summary>
    /// <returns>The descriptor, or the negative error number.</returns>
    public static int Open(int root, string path) =>
        Libc.OpenAt2(root, Encoding.UTF8.GetBytes(path + '\0'), Libc.O_PATH | Libc.O_CLOEXEC, Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_MAGICLINKS);

    /// <summary>Finds where a path leads when what is missing counts as a directory, as docker finds it.</summary>
    /// <returns>A path without links, relative to the root; null when something on the way is no directory, or there
    /// are too many links.</returns>
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
        target = "";
        const ulong resolve = Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_SYMLINKS;
        using Descriptor fd = Libc.OpenAt2(root, Encoding.UTF8.GetBytes(path + '\0'), Libc.O_PATH | Processor.O_NOFOLLOW | Libc.O_CLOEXEC, resolve);
        if (fd < 0)
            return fd == -Libc.ENOENT ? 0 : uint.MaxValue;
        if (Libc.Status(fd, out Libc.FileStatus status) != 0)
            return uint.MaxValue;
        if (status.Type != Libc.S_IFLNK)
            return status.Type;
        Span<byte> buffer = stackalloc byte[4096];
        target = Encoding.UTF8.GetString(buffer[..(int)Math.Max(Libc.readlinkat(fd, "\0"u8, buffer, (nuint)buffer.Length), 0)]);

        // A name that is no text cannot be made here.
        return target.Contains('\ufffd') ? uint.MaxValue : Libc.S_IFLNK;
    }
}
