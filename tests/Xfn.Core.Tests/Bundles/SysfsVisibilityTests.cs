using Xfn.Core.Bundles;

namespace Xfn.Core.Tests.Bundles;

internal sealed class SysfsVisibilityTests
{
    private const string Root = "1 0 0:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n";
    private const string Sys = "2 1 0:2 / /sys rw,nosuid,nodev,noexec,relatime shared:2 - sysfs sysfs rw\n";

    [TestCase(Root + Sys)]
    [TestCase(Root + Sys + "3 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n4 3 0:4 / /sys/fs/cgroup/x rw - cgroup2 cgroup2 rw\n5 2 0:5 / /sys/kernel/debug rw - debugfs debugfs rw")]
    [TestCase(Root + "2 1 0:2 / /sys ro,relatime - sysfs sysfs ro\n3 1 0:2 / /mnt/sys rw,relatime - sysfs sysfs rw\n")]
    public void On_a_machine_a_fresh_one_is_allowed(string mountInfo) => Assert.That(SysfsVisibility.AllowsFresh(mountInfo), Is.True);

    [TestCase("")]
    [TestCase("nonsense\n1 2 -")]
    [TestCase(Root)]
    [TestCase(Root + "2 1 0:2 / /sys ro,nosuid,relatime - sysfs sysfs ro\n")]
    [TestCase(Root + "2 1 0:2 / /sys rw,noatime - sysfs sysfs rw\n")]
    [TestCase(Root + "2 1 0:2 /fs /sys rw,relatime - sysfs sysfs rw\n")]
    [TestCase(Root + "2 1 0:2 / /sys rw,relatime - tmpfs tmpfs rw\n")]
    [TestCase(Root + Sys + "3 2 0:3 / /sys/firmware ro,relatime - tmpfs tmpfs ro\n")]
    [TestCase(Root + Sys + "3 2 0:3 / /sys/devices/virtual/powercap ro,relatime - tmpfs tmpfs ro\n")]
    public void Where_it_is_covered_or_read_only_a_fresh_one_is_not(string mountInfo) => Assert.That(SysfsVisibility.AllowsFresh(mountInfo), Is.False);
}
