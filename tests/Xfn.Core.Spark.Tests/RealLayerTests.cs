using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>What GNU tar makes of real archives is what we make of them.</summary>
internal sealed class RealLayerTests
{
    [Test]
    [CancelAfter(300_000)]
    public void Data_of_Debian_packages_unpack_as_tar_unpacks_them()
    {
        string[] packages = [.. Directory.GetFiles("/tmp/layers-debs", "*.deb").Order().Take(20)];
        Assume.That(packages, Is.Not.Empty, "no packages are kept on this machine");
        foreach (string package in packages)
        {
            using var sandbox = new Sandbox();
            string tar = Path.Combine(sandbox.Base, "data.tar");
            Tool.Run("/bin/sh", "-c", $"dpkg-deb --fsys-tarfile '{package}' > '{tar}'");
            AssertSameAsTar(sandbox, tar);
        }
    }

    private static void AssertSameAsTar(Sandbox sandbox, string tar)
    {
        string reference = Directory.CreateDirectory(Path.Combine(sandbox.Base, "reference")).FullName;
        Tool.Run("tar", "-x", "-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-f", tar, "-C", reference);
        sandbox.UnpackFile(tar);
        Assert.That(TreeListing.Of(sandbox.Root), Is.EqualTo(TreeListing.Of(reference)), tar);
    }
}
