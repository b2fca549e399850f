using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>What GNU tar makes of real archives is what we make of them.</summary>
[CancelAfter(600_000)]
internal sealed class RealLayerTests
{
    private static readonly string[] Packages = ["bash", "coreutils", "libc6", "login", "passwd", "tzdata", "util-linux", "iputils-ping"];

    [Test]
    public void Data_of_Debian_packages_unpack_as_tar_unpacks_them()
    {
        using var sandbox = new Sandbox("/tmp");
        string packages = Directory.CreateDirectory(Path.Combine(sandbox.Base, "packages")).FullName;
        try
        {
            Tool.Run("/bin/sh", "-c", $"cd {packages} && apt-get download -q {string.Join(' ', Packages)}");
        }
        catch (InvalidOperationException ex)
        {
            Assert.Ignore($"Debian's packages cannot be fetched here: {ex.Message}");
        }

        foreach (string package in Directory.GetFiles(packages))
        {
            using var one = new Sandbox("/tmp");
            string tar = Path.Combine(one.Base, "data.tar");
            Tool.Run("/bin/sh", "-c", $"dpkg-deb --fsys-tarfile '{package}' > '{tar}'");
            AssertSameAsTar(one, tar);
        }
    }

    [Test]
    public void A_Debian_root_file_system_unpacks_as_tar_unpacks_it()
    {
        using var sandbox = new Sandbox("/tmp");
        string? tar = Environment.GetEnvironmentVariable("XFN_ROOTFS_TAR");
        if (tar is null)
        {
            if (LongMode.Rounds(1) == 1)
                Assert.Ignore("It takes a minute and fetches a distribution: set XFN_FUZZ_FACTOR for it, or XFN_ROOTFS_TAR to an archive that is there.");
            string root = Path.Combine(sandbox.Base, "debian");
            tar = Path.Combine(sandbox.Base, "debian.tar");
            Tool.Run("debootstrap", "--variant=minbase", "bookworm", root);
            Tool.Run("tar", "-c", "--xattrs", "--numeric-owner", "-f", tar, "-C", root, ".");
        }

        AssertSameAsTar(sandbox, tar);
    }

    private static void AssertSameAsTar(Sandbox sandbox, string tar)
    {
        sandbox.UnpackFile(tar);
        // Devices are left out on purpose.
        string reference = string.Join('\n', GnuTar.Unpack(tar, sandbox.Base).Split('\n').Where(line => !line.Contains(" device=", StringComparison.Ordinal)));
        Assert.That(TreeListing.Of(sandbox.Root, root: false), Is.EqualTo(reference), tar);
    }
}
