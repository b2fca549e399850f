using System.Buffers.Binary;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>Says which directory or file of the image keeps a container's user from a program. Asked after a failure,
/// by spark, which may look everywhere.</summary>
/// <param name="root">The image's root, without the container's mounts.</param>
/// <param name="container">Whose user is meant.</param>
internal sealed class Obstacle(string root, SparkContainer container)
{
    private const int MaxLinks = 40;
    private const ulong DacOverride = 1 << 1, DacReadSearch = 1 << 2;

    /// <summary>The first obstacle on the way: <c>user 1000:1000 may not pass directory '/app' (mode 0700, owner
    /// 0:0)</c>; null when there is none to be found.</summary>
    /// <param name="path">A program's absolute path.</param>
    /// <param name="maxInterpreters">How many interpreters of interpreters are looked at.</param>
    public string? OnTheWayTo(string path, int maxInterpreters = 4)
    {
        // A directory that is no link, and what is left to walk from there. Links are followed here, so that none leads
        // out of the root.
        string at = "";
        var left = new Stack<string>(PartsOf(path));
        for (int links = 0; ;)
        {
            if (!MayPass(at, out Libc.FileStatus status))
                return $"user {container.Uid}:{container.Gid} may not pass directory '{(at.Length == 0 ? "/" : at)}' {Show(status)}";
            if (!left.TryPop(out string? part))
                return null;
            if (part == "..")
            {
                at = at[..Math.Max(0, at.LastIndexOf('/'))];
                continue;
            }

            string next = $"{at}/{part}";
            if (!TryStatus(next, out status))
                return null;
            if (status.Type == Libc.S_IFLNK)
            {
                if (++links > MaxLinks || new FileInfo(root + next).LinkTarget is not { } target)
                    return null;
                at = target.StartsWith('/') ? "" : at;
                foreach (string step in PartsOf(target))
                    left.Push(step);
            }
            else if (status.Type == Libc.S_IFDIR)
            {
                at = next;
            }
            else if (status.Type != Libc.S_IFREG || left.Count > 0)
            {
                return null;
            }
            else
            {
                return !MayExecute(status) ? $"user {container.Uid}:{container.Gid} may not execute '{next}' {Show(status)}"
                    : maxInterpreters > 0 && InterpreterOf(root + next) is { } interpreter ? OnTheWayTo(interpreter, maxInterpreters - 1)
                    : null;
            }
        }
    }

    private static IEnumerable<string> PartsOf(string path) => path.Split('/').Where(p => p is not ("" or ".")).Reverse();

    private static string Show(Libc.FileStatus status) => $"(mode {Convert.ToString(status.Permissions, 8).PadLeft(4, '0')}, owner {status.Uid}:{status.Gid})";

    private bool MayPass(string directory, out Libc.FileStatus status) =>
        !TryStatus(directory, out status) || (container.Capabilities & (DacOverride | DacReadSearch)) != 0 || HasExecute(status);

    private bool MayExecute(Libc.FileStatus status) =>
        (container.Capabilities & DacOverride) != 0 ? (status.Permissions & 0b001_001_001) != 0 : HasExecute(status);

    private bool HasExecute(Libc.FileStatus status) =>
        (status.Permissions >> (status.Uid == container.Uid ? 6 : status.Gid == container.Gid || container.Groups.Contains(status.Gid) ? 3 : 0) & 1) != 0;

    private bool TryStatus(string path, out Libc.FileStatus status) => Libc.Status(Libc.AT_FDCWD, Encoding.UTF8.GetBytes(root + path + "\0"), out status) == 0;

    /// <summary>What a script's first line, or a program's header, names to execute it; null for nothing.</summary>
    private static string? InterpreterOf(string file)
    {
        const int wanted = 4096, interpreterHeader = 3;
        using SafeFileHandle handle = File.OpenHandle(file);
        Span<byte> head = new byte[wanted];
        head = head[..RandomAccess.Read(handle, head, 0)];
        if (head.StartsWith("#!"u8))
        {
            int end = head.IndexOf((byte)'\n');
            return Encoding.UTF8.GetString(end < 0 ? head[2..] : head[2..end]).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries).FirstOrDefault();
        }

        // ELF of 64 bits: a table of program headers, each of which says what it is, where, and how long.
        // https://man7.org/linux/man-pages/man5/elf.5.html
        if (!head.StartsWith("\x7fELF\x02"u8) || head.Length < 64)
            return null;
        ulong table = BinaryPrimitives.ReadUInt64LittleEndian(head[32..]);
        int size = BinaryPrimitives.ReadUInt16LittleEndian(head[54..]), count = BinaryPrimitives.ReadUInt16LittleEndian(head[56..]);
        for (int i = 0; i < count && size >= 56 && table + (ulong)((i + 1) * size) <= (ulong)head.Length; i++)
        {
            Span<byte> header = head.Slice((int)table + i * size, size);
            ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]), length = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
            if (BinaryPrimitives.ReadUInt32LittleEndian(header) == interpreterHeader && offset < (ulong)head.Length && length <= (ulong)head.Length - offset)
                return Encoding.UTF8.GetString(head.Slice((int)offset, (int)length)).TrimEnd('\0');
        }

        return null;
    }
}
