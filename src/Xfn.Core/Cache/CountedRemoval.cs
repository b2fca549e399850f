using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>Deletes what the caller can delete without a spark, and counts freed blocks as <c>du</c> does.</summary>
internal static class CountedRemoval
{
    /// <summary>Deletes a file, or a link; that there is none is no error.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public static long RemoveFile(string path)
    {
        long bytes = Posix.DiskBytesOf(path);
        File.Delete(path);
        return bytes;
    }

    /// <summary>Deletes a directory with all that is in it, and nothing that a link in it leads to.</summary>
    /// <inheritdoc cref="RemoveFile"/>
    public static long RemoveTree(string directory)
    {
        long bytes = new DirectoryInfo(directory).GetFileSystemInfos()
            .Sum(entry => entry is DirectoryInfo { LinkTarget: null } ? RemoveTree(entry.FullName) : RemoveFile(entry.FullName));
        bytes += Posix.DiskBytesOf(directory);
        Directory.Delete(directory);
        return bytes;
    }
}
