using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>All that can be seen of a tree, one line a file, to compare. Names are Latin-1, byte for byte.</summary>
internal static class TreeListing
{
    /// <summary>Lists a tree. <c>inodes</c>: whether inode numbers count; else only which names share a file.
    /// <c>root</c>: whether the directory itself is listed.
    /// <c>times</c>: whether modification times count.</summary>
    public static string Of(string directory, bool inodes = false, bool root = true, bool times = true)
    {
        var lines = new List<string>();
        var firstNames = new Dictionary<ulong, string>();
        using Descriptor fd = Libc.OpenDirectory(Libc.AT_FDCWD, Encoding.UTF8.GetBytes(directory + '\0'));
        if (fd < 0)
            return "missing";
        Libc.Status(fd, out Libc.FileStatus status);
        if (root)
            lines.Add(Line(".", fd, fd, null, status, inodes, times, firstNames));
        List(fd, "", lines, inodes, times, firstNames);
        return string.Join('\n', lines);
    }

    private static void List(int fd, string path, List<string> lines, bool inodes, bool times, Dictionary<ulong, string> firstNames)
    {
        var names = new List<string>();
        var listing = new DirectoryListing();
        while (listing.TryTake(fd, out ReadOnlySpan<byte> name))
            names.Add(Encoding.Latin1.GetString(name[..^1]));

        names.Sort(string.CompareOrdinal);
        foreach (string name in names)
        {
            byte[] terminated = Encoding.Latin1.GetBytes(name + '\0');
            Libc.Status(fd, terminated, out Libc.FileStatus status);
            using Descriptor child = status.Type is Libc.S_IFDIR or Libc.S_IFREG ? Libc.openat(fd, terminated, Libc.O_RDONLY | Processor.O_NOFOLLOW | Libc.O_CLOEXEC) : -1;
            lines.Add(Line(path + name, fd, child, name, status, inodes, times, firstNames));
            if (status.Type == Libc.S_IFDIR)
                List(child, path + name + "/", lines, inodes, times, firstNames);
        }
    }

    private static string Line(string path, int parent, int fd, string? name, in Libc.FileStatus s, bool inodes, bool times, Dictionary<ulong, string> firstNames)
    {
        var line = new StringBuilder();
        line.Append(CultureInfo.InvariantCulture, $"{path} mode={Convert.ToString(s.Mode, 8)} owner={s.Uid}:{s.Gid}");
        if (s.Type != Libc.S_IFDIR || inodes)
            line.Append(CultureInfo.InvariantCulture, $" links={s.Links}");
        if (times)
            line.Append(CultureInfo.InvariantCulture, $" mtime={s.ModifiedSeconds}.{s.ModifiedNanoseconds:d9}");
        if (inodes)
            line.Append(CultureInfo.InvariantCulture, $" inode={s.Inode}");
        else if (s.Links > 1 && s.Type != Libc.S_IFDIR && !firstNames.TryAdd(s.Inode, path))
            line.Append(CultureInfo.InvariantCulture, $" same-as={firstNames[s.Inode]}");
        if (s.Type == Libc.S_IFREG)
            line.Append(CultureInfo.InvariantCulture, $" size={s.Size} sha={Hash(fd)}");
        if (s.Type == Libc.S_IFCHR)
            line.Append(CultureInfo.InvariantCulture, $" device={s.RawDeviceMajor}:{s.RawDeviceMinor}");
        if (s.Type == Libc.S_IFLNK)
            line.Append(CultureInfo.InvariantCulture, $" -> {ReadLink(parent, name!)}");
        if (fd >= 0)
            line.Append(Attributes(fd));
        return line.ToString();
    }

    private static string Hash(int fd)
    {
        using var handle = new Microsoft.Win32.SafeHandles.SafeFileHandle(fd, ownsHandle: false);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[128 << 10];
        int read;
        for (long at = 0; (read = RandomAccess.Read(handle, buffer, at)) > 0; at += read)
            hash.AppendData(buffer, 0, read);
        return Convert.ToHexString(hash.GetHashAndReset())[..16];
    }

    private static string ReadLink(int parent, string name)
    {
        Span<byte> target = stackalloc byte[4096];
        return Encoding.Latin1.GetString(target[..(int)Libc.readlinkat(parent, Encoding.Latin1.GetBytes(name + '\0'), target, 4096)]);
    }

    private static string Attributes(int fd)
    {
        Span<byte> list = stackalloc byte[8192];
        nint length = Libc.flistxattr(fd, list, 8192);
        if (length <= 0)
            return "";
        var texts = new List<string>();
        Span<byte> value = stackalloc byte[65536];
        foreach (string name in Encoding.Latin1.GetString(list[..(int)length]).Split('\0', StringSplitOptions.RemoveEmptyEntries))
            texts.Add($" {name}={Convert.ToHexString(value[..(int)Libc.fgetxattr(fd, Encoding.Latin1.GetBytes(name + '\0'), value, 65536)])}");
        texts.Sort(string.CompareOrdinal);
        return string.Concat(texts);
    }
}
