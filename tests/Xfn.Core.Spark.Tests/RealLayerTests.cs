using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>What GNU tar makes of real archives is what we make of them.</summary>
[CancelAfter(120_000)]
internal sealed class RealLayerTests
{
    private static readonly string[] Installed = ["bash", "coreutils", "libc6", "passwd", "tzdata", "util-linux"];

    // Setuid programs, hard links, links to directories, capabilities, many small files, names that are no ASCII.
    private static readonly string[] Packages =
    [
        .. Installed, "ca-certificates", "console-data", "dbus", "git", "iputils-ping", "kbd", "locales", "login", "ncurses-term", "openssh-client", "perl-base", "polkitd", "python3-minimal", "sudo", "systemd", "terminfo", "zsh-common",
    ];

    /// <summary>Data archives of packages, as Debian wrote them: in the long mode, or from apt's cache.</summary>
    [Test]
    public void Data_of_Debian_packages_unpack_as_tar_unpacks_them()
    {
        using var sandbox = new Sandbox("/tmp");
        string packages = Directory.CreateDirectory(Path.Combine(sandbox.Base, "packages")).FullName;
        if (LongMode.Rounds(1) > 1)
            Tool.Run("/bin/sh", "-c", $"cd {packages} && for package in {string.Join(' ', Packages)}; do apt-get download -q $package || echo \"$package cannot be had\" >&2; done; ls *.deb");
        string[] files = [.. Directory.GetFiles(packages), .. Directory.GetFiles("/var/cache/apt/archives", "*.deb").Order(StringComparer.Ordinal).Take(5)];
        if (files.Length == 0)
            Assert.Ignore("No packages are here: set XFN_FUZZ_FACTOR to fetch some.");
        foreach (string package in files)
        {
            using var one = new Sandbox("/tmp");
            string tar = Path.Combine(one.Base, "data.tar");
            Tool.Run("/bin/sh", "-c", $"dpkg-deb --fsys-tarfile '{package}' > '{tar}'");
            AssertSameAsTar(one, tar);
        }

        TestContext.Out.WriteLine($"{files.Length} packages");
    }

    [Test]
    public void Files_of_installed_packages_unpack_as_tar_unpacks_them([ValueSource(nameof(Installed))] string package)
    {
        foreach (string format in new[] { "gnu", "posix --xattrs" })
        {
            using var one = new Sandbox("/tmp");
            string tar = Path.Combine(one.Base, "data.tar");
            Tool.Run("/bin/sh", "-c", $"dpkg -L {package} | sed -n -E 's,^/((usr|etc|var)(/.*)?)$,\\1,p' | (cd /; while read -r f; do [ -e \"$f\" ] || [ -h \"$f\" ] && echo \"$f\"; done | tar -c --no-recursion --sparse --format={format} -f {tar} -T -)");
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
