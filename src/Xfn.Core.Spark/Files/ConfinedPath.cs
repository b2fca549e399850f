using System.Runtime.CompilerServices;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Files;

/// <summary>Opens all directories that unpacking writes to, and so confines it: the kernel resolves each path beneath
/// the root and refuses every link on the way. No name, and no link that an entry planted, leads out.</summary>
internal static class ConfinedPath
{
    private const ulong Resolve = Libc.RESOLVE_BENEATH | Libc.RESOLVE_NO_SYMLINKS | Libc.RESOLVE_NO_MAGICLINKS | Libc.RESOLVE_NO_XDEV;

    // The kernel takes a page of path, with its NUL.
    private const int MaxPathBytes = 4095;

    /// <summary>Opens the directory for use as a starting point.</summary>
    /// <returns>The descriptor, or the negative error number.</returns>
    public static int Open(int root, ReadOnlySpan<byte> path)
    {
        int at = root;
        do
        {
            ReadOnlySpan<byte> part = path;
            if (part.Length > MaxPathBytes)
            {
                int end = part[..(MaxPathBytes + 1)].LastIndexOf((byte)'/');
                if (end < 0)
                    return -Libc.ENAMETOOLONG;
                part = part[..end];
            }

            path = part.Length == path.Length ? default : path[(part.Length + 1)..];
            int next = OpenPart(at, part);
            if (at != root)
                _ = Libc.close(at);
            if (next < 0)
                return next;
            at = next;
        }
        while (!path.IsEmpty);
        return at;
    }

    [SkipLocalsInit]
    private static int OpenPart(int at, ReadOnlySpan<byte> part)
    {
        Span<byte> terminated = stackalloc byte[MaxPathBytes + 1];
        if (part.IsEmpty)
            part = "."u8;
        part.CopyTo(terminated);
        terminated[part.Length] = 0;
        return Libc.OpenAt2(at, terminated, Libc.O_PATH | Processor.O_DIRECTORY | Processor.O_NOFOLLOW | Libc.O_CLOEXEC, Resolve);
    }
}
