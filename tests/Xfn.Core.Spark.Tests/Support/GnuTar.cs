namespace Xfn.Core.Spark.Tests.Support;

internal static class GnuTar
{
    /// <summary>Unpacks below a directory.</summary>
    /// <returns>The listing of what came out.</returns>
    public static string Unpack(string tar, string below)
    {
        string reference = Directory.CreateDirectory(Path.Combine(below, "reference")).FullName;
        // Without the delay tar forgets times of directories that get more later, as in Debian packages with links.
        Tool.Run("tar", "-x", "-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability", "--delay-directory-restore", "-f", tar, "-C", reference);
        return TreeListing.Of(reference, root: false);
    }
}
