using Xfn.Core.Namespaces;

namespace Xfn.Core.Tests.Preflight;

public class EnvironmentDiagnosisTests
{
    private const string NotPermitted = "unshare: unshare failed: Operation not permitted";
    private const string NoSpace = "unshare: unshare failed: No space left on device";

    [TestCase("/proc/sys/user/max_user_namespaces", "0\n", NoSpace, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=")]
    [TestCase("/proc/sys/user/max_mnt_namespaces", "0\n", NoSpace, "user.max_mnt_namespaces is 0", "sysctl -w user.max_mnt_namespaces=")]
    [TestCase("/proc/sys/kernel/unprivileged_userns_clone", "0\n", NotPermitted, "kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1")]
    [TestCase("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "unshare: cannot change root filesystem propagation: Permission denied", "AppArmor restricts", "userns,")]
    [TestCase("/proc/self/status", "CapEff:\t00000000a80425fb\nSeccomp:\t2\n", NotPermitted, "a seccomp filter", "seccomp=unconfined")]
    [TestCase("/proc/self/mountinfo", "22 21 0:20 / /proc rw - proc proc rw\n", NotPermitted, "chroot", "pivot_root")]
    [TestCase("/proc/sys/user/max_user_namespaces", "15000\n", NoSpace, "too many user namespaces", "now 15000")]
    [TestCase("/proc/sys/user/max_user_namespaces", "15000\n", "unshare: fork failed: Resource temporarily unavailable", "as many processes as it may", "TasksMax")]
    [TestCase("/proc/sys/user/max_user_namespaces", "15000\n", "unshare: something new", "unshare: something new", "security module")]
    public void What_forbids_a_user_namespace_is_named_with_its_remedy(string path, string content, string error, string found, string remedy)
    {
        using FakeSystem system = new FakeSystem().Put(path, content);
        EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfUnshare(error, system.Files);
        Assert.That(diagnosis.Found, Does.Contain(found));
        Assert.That(diagnosis.Remedy, Does.Contain(remedy));
        Assert.That(
            diagnosis.ToException(RunStage.Spawn, "make a user namespace").Message,
            Is.EqualTo($"cannot make a user namespace: {diagnosis.Found}. {diagnosis.Remedy}"));
    }

    [Test]
    public void A_kernel_without_user_namespaces_is_named()
    {
        using FakeSystem system = new FakeSystem().Remove("/proc/self/ns/user");
        Assert.That(EnvironmentDiagnosis.OfUnshare("unshare: unshare failed: Invalid argument", system.Files).Remedy, Does.Contain("CONFIG_USER_NS"));
    }

    [Test]
    public void Root_is_not_told_of_what_only_holds_for_others()
    {
        using FakeSystem system = new FakeSystem().Put("/proc/sys/kernel/unprivileged_userns_clone", "0\n").Put("/proc/self/status", "CapEff:\t000001ffffffffff\n");
        Assert.That(EnvironmentDiagnosis.OfUnshare(NotPermitted, system.Files).Found, Does.Not.Contain("unprivileged"));
    }

    [Test]
    public void A_masked_proc_is_told_from_another_refusal()
    {
        using var system = new FakeSystem();
        Assert.That(EnvironmentDiagnosis.OfProc("mount: permission denied.", system.Files).Found, Does.Contain("permission denied"));

        system.Append("/proc/self/mountinfo", "30 22 0:31 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n");
        Assert.That(EnvironmentDiagnosis.OfProc("mount: permission denied.", system.Files).Found, Does.Not.Contain("masked"));

        system.Append("/proc/self/mountinfo", "31 22 0:32 / /proc/acpi ro - tmpfs tmpfs ro\n32 22 0:5 /null /proc/kcore rw - devtmpfs udev rw\n");
        EnvironmentDiagnosis masked = EnvironmentDiagnosis.OfProc("mount: permission denied.", system.Files);
        Assert.That(masked.Found, Does.Contain("2 mounts over it, the first at /proc/acpi"));
        Assert.That(masked.Remedy, Does.Contain("procMount: Unmasked"));
    }

    [TestCase("5.10.0-30-amd64", "nodev\toverlay\n", "lets no user namespace mount overlayfs")]
    [TestCase("6.1.0-56-amd64", "nodev\tproc\n", "not in the kernel")]
    [TestCase("6.1.0-56-amd64", "nodev\toverlay\n", "wrong fs type")]
    public void Why_overlayfs_cannot_be_mounted_is_named(string release, string filesystems, string found)
    {
        using FakeSystem system = new FakeSystem().Put("/proc/sys/kernel/osrelease", release).Put("/proc/filesystems", filesystems);
        Assert.That(EnvironmentDiagnosis.OfOverlay("mount: wrong fs type", system.Files).Found, Does.Contain(found));
    }
}
