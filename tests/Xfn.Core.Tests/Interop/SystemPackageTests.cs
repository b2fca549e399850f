using Xfn.Core.Interop;
using Xfn.Core.Tests.Preflight;

namespace Xfn.Core.Tests.Interop;

internal sealed class SystemPackageTests
{
    [TestCase("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", "apt-get install uidmap")]
    [TestCase("ID=ubuntu\nID_LIKE=debian\n", "apt-get install uidmap")]
    [TestCase("NAME=\"Alpine Linux\"\nID=alpine\n", "apk add shadow-uidmap")]
    [TestCase("ID=fedora\n", "dnf install shadow-utils")]
    [TestCase("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install shadow-utils")]
    [TestCase("ID=nixos\n", "apt-get install uidmap, apk add shadow-uidmap, dnf install shadow-utils")]
    [TestCase(null, "apt-get install uidmap, apk add shadow-uidmap, dnf install shadow-utils")]
    public void A_package_is_installed_by_the_machines_own_command(string? release, string command)
    {
        using var system = new FakeSystem();
        if (release is not null)
            system.Put("/etc/os-release", release);
        Assert.That(SystemPackage.IdMapping.CommandOn(system.Files), Is.EqualTo(command));
    }

    [Test]
    public void A_machine_without_a_file_of_its_own_has_its_distributions()
    {
        using var system = new FakeSystem();
        system.Put("/usr/lib/os-release", "ID=alpine\n");
        Assert.That(SystemPackage.UtilLinux.CommandOn(system.Files), Is.EqualTo("apk add util-linux"));
    }
}
