using Xfn.Core.Interop;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Copies a file from the layers below, as overlayfs does for a link: links cannot cross layers.</summary>
internal static class CopyUp
{
    /// <summary>Copies the lower file that the tree found last. Links go to the copy: names stay one file.</summary>
    /// <returns>Whether there is such a file.</returns>
    public static bool TryCopyUp(int lowerRootFd, LayerTree tree, ReadOnlySpan<byte> name, LayerSize size, TarReader reader)
    {
        byte[] directory = tree.FoundPath.ToArray();
        if (tree.IsHidingLower(directory))
            return false;
        using Descriptor lower = ConfinedPath.Open(lowerRootFd, directory);
        if (lower < 0 || Libc.Status(lower, name, out Libc.FileStatus status) != 0)
            return false;
        if (status.Type == Libc.S_IFDIR)
            throw reader.Malformed($"'{ByteText.Show(reader.Entry.LinkName.Span)}', which it links to, is a directory");
        size.AddOnDisk(status.DiskBytes);
        FileCopier.Copy(lower, name, tree.OpenDirectory(directory), status);
        tree.Forget();
        return true;
    }
}
