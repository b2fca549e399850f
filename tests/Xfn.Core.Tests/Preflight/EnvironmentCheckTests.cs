using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Preflight;

namespace Xfn.Core.Tests.Preflight;

[CancelAfter(60_000)]
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public class EnvironmentCheckTests
{
    private const string Nobody = "CapEff:\t0000000000000000\nNoNewPrivs:\t0\n";

    private string _directory = "";

    [SetUp]
    public void Make_a_directory() => _directory = Directory.CreateTempSubdirectory("xfn-check-").FullName;

    [TearDown]
    public void Remove_the_directory()
    {
        File.SetUnixFileMode(_directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        Directory.Delete(_directory, recursive: true);
    }

    [Test]
    public async Task The_whole_check_looks_at_everything_and_leaves_nothing_behind(CancellationToken cancellationToken)
    {
        EnvironmentReport report = await EnvironmentChecker.CheckAsync(new EnvironmentCheckOptions { CacheDirectory = _directory }, cancellationToken);

        // Where no namespace can be made, nothing in one can be tried.
        bool namespaces = report.Checks.Single(c => c.Name == "user namespaces").Status == EnvironmentStatus.Ok;
        string[] inNamespaces = namespaces ? ["/proc", "overlayfs", "descriptors"] : [];
        Assert.That(report.Checks.Select(c => c.Name), Is.EqualTo((string[])
        [
            "platform", "util-linux", "user namespaces", .. inNamespaces, "ids", "cgroup memory", "cgroup cpu", "cgroup pids", "OCI runtime", "cache directory", "disk space",
        ]));
        foreach (EnvironmentCheck check in report.Checks)
        {
            TestContext.Out.WriteLine($"{check.Status}: {check.Name}: {check.Found}. {check.Remedy}");
            Assert.That(check.Remedy, check.Status == EnvironmentStatus.Ok ? Is.Empty : Does.EndWith("."), check.Name);
        }

        Assert.That(report.CanRun, Is.EqualTo(report.Checks.All(c => c.Status != EnvironmentStatus.Failed)));
        Assert.That(Directory.EnumerateFileSystemEntries(_directory), Is.Empty);
    }

    [TestCase("crun version 1.8.1\ncommit: x\n+SYSTEMD +SECCOMP +YAJL", EnvironmentStatus.Ok)]
    [TestCase("crun version 1.28\n+SECCOMP", EnvironmentStatus.Ok)]
    [TestCase("crun version 1.28.0.0.0.1-dirty\n+SECCOMP", EnvironmentStatus.Ok)]
    [TestCase("crun version 1.8.1\n+SYSTEMD +YAJL", EnvironmentStatus.Failed)]
    [TestCase("crun version 0.17\n+SECCOMP", EnvironmentStatus.Warning)]
    [TestCase("runc version 1.1.5\nspec: 1.0.2-dev", EnvironmentStatus.Warning)]
    [TestCase("runc version 1.3.0-rc.1", EnvironmentStatus.Ok)]
    [TestCase("youki version 0.5.5", EnvironmentStatus.Ok)]
    [TestCase("", EnvironmentStatus.Ok)]
    public void A_runtime_is_judged_by_its_version_and_features(string output, EnvironmentStatus status) =>
        Assert.That(RuntimeCheck.Judge("/usr/bin/x", output.Split('\n')).Status, Is.EqualTo(status));

    [TestCase("no-such-runtime", "there is no program 'no-such-runtime'")]
    [TestCase("/etc/passwd", "there is no program '/etc/passwd'")]
    [TestCase("/bin/false", "'/bin/false --version' failed: exit status 1")]
    public async Task A_runtime_that_cannot_be_run_is_named(string runtime, string found, CancellationToken cancellationToken)
    {
        EnvironmentCheck check = await RuntimeCheck.CheckAsync(runtime, cancellationToken);
        Assert.That(check.Status, Is.EqualTo(EnvironmentStatus.Failed));
        Assert.That(check.Found, Does.StartWith(found));
    }

    [TestCase(100UL << 30, 1_000_000UL, EnvironmentStatus.Ok)]
    [TestCase(100UL << 30, null, EnvironmentStatus.Ok)]
    [TestCase(500UL << 20, 1_000_000UL, EnvironmentStatus.Warning)]
    [TestCase(100UL << 30, 500UL, EnvironmentStatus.Warning)]
    [TestCase(1UL << 20, 1_000_000UL, EnvironmentStatus.Failed)]
    [TestCase(100UL << 30, 0UL, EnvironmentStatus.Failed)]
    public void Room_is_wanted_in_bytes_and_in_files(ulong bytes, ulong? files, EnvironmentStatus status) =>
        Assert.That(CacheChecks.Judge(bytes, files, "/cache").Status, Is.EqualTo(status));

    [TestCase(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, EnvironmentStatus.Ok, "")]
    [TestCase(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherWrite, EnvironmentStatus.Failed, "has mode 0702")]
    [TestCase(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupWrite, EnvironmentStatus.Failed, "has mode 0720")]
    public void A_cache_that_others_may_write_is_refused(UnixFileMode mode, EnvironmentStatus status, string found)
    {
        File.SetUnixFileMode(_directory, mode);
        AssertCache(_directory, new SystemFiles(), status, found);
    }

    [Test]
    public async Task What_root_with_two_capabilities_cannot_try_is_not_said_to_fail(CancellationToken cancellationToken)
    {
        using var system = new FakeSystem();
        system.Put("/proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t00000000000000c0\nNoNewPrivs:\t1\nSeccomp:\t0\n");
        var options = new EnvironmentCheckOptions { CacheDirectory = _directory, Files = system.Files };
        EnvironmentCheck proc = await NamespaceChecks.ProcAsync(options, cancellationToken);
        EnvironmentCheck overlay = await NamespaceChecks.OverlayAsync(options, cancellationToken);
        Assert.That((proc.Status, overlay.Status), Is.EqualTo((EnvironmentStatus.Ok, EnvironmentStatus.Warning)));
        Assert.That(new[] { proc.Found, overlay.Found }, Is.All.Contains("CAP_SETFCAP"));
    }

    [Test]
    public void A_cache_that_is_not_made_yet_must_be_possible_to_make()
    {
        AssertCache(Path.Combine(_directory, "a/b/c"), new SystemFiles(), EnvironmentStatus.Ok, "not made yet");
        AssertCache("/etc/passwd", new SystemFiles(), EnvironmentStatus.Failed, "'/etc/passwd' is a file");
        AssertCache("/etc/passwd/cache", new SystemFiles(), EnvironmentStatus.Failed, "'/etc/passwd' is a file");
        // Root may write anywhere.
        if (!Environment.IsPrivilegedProcess)
            AssertCache("/usr/no/such/place", new SystemFiles(), EnvironmentStatus.Failed, "may not write to '/usr'");
    }

    [TestCase("rw,noexec", "ext4", "rw", EnvironmentStatus.Failed, "mounted noexec")]
    [TestCase("ro", "ext4", "rw", EnvironmentStatus.Warning, "only what is cached")]
    [TestCase("rw", "ext4", "ro", EnvironmentStatus.Warning, "only what is cached")]
    [TestCase("rw", "nfs4", "rw", EnvironmentStatus.Warning, "a network file system")]
    [TestCase("rw,nosuid,nodev", "xfs", "rw", EnvironmentStatus.Ok, "on xfs")]
    public void A_cache_is_judged_by_how_its_file_system_is_mounted(string options, string type, string super, EnvironmentStatus status, string found)
    {
        using FakeSystem system = new FakeSystem().Append("/proc/self/mountinfo", $"40 21 8:2 / {_directory} {options} shared:7 - {type} /dev/sdb1 {super}\n");
        AssertCache(_directory, system.Files, status, found);
    }

    [Test]
    public void A_cache_of_another_user_is_refused()
    {
        string other = "/";
        if (Environment.IsPrivilegedProcess)
        {
            other = Directory.CreateDirectory(Path.Combine(_directory, "other")).FullName;
            Tool.Run("chown", "12345", other);
        }

        AssertCache(other, new SystemFiles(), EnvironmentStatus.Failed, "belongs to user id");
    }

    [TestCase(null, "CapEff:\t00000000000000c0\n", EnvironmentStatus.Ok, "has CAP_SETUID and CAP_SETGID")]
    [TestCase(IdMappingMethod.Capabilities, "CapEff:\t0000000000000080\n", EnvironmentStatus.Failed, "lacks CAP_SETUID or CAP_SETGID")]
    [TestCase(null, "CapEff:\t00000000000000c0\n", EnvironmentStatus.Ok, "user ids 2010000000-2147483647")]
    [TestCase(IdMappingMethod.SubordinateIds, Nobody, EnvironmentStatus.Failed, "/etc/subuid has no line for user")]
    [TestCase(null, Nobody, EnvironmentStatus.Warning, "functions run as this very user")]
    [TestCase(IdMappingMethod.Self, "CapEff:\t00000000000000c0\n", EnvironmentStatus.Warning, "only the caller's own id shall be mapped")]
    [TestCase(null, Nobody + "Uid:\t0\t0\t0\t0\n", EnvironmentStatus.Failed, "root without CAP_SETFCAP")]
    [TestCase(IdMappingMethod.Self, Nobody + "Uid:\t0\t0\t0\t0\n", EnvironmentStatus.Failed, "root without CAP_SETFCAP")]
    [TestCase(IdMappingMethod.Self, "Uid:\t0\t0\t0\t0\nCapEff:\t0000000080000000\n", EnvironmentStatus.Warning, "only the caller's own id shall be mapped")]
    [TestCase(IdMappingMethod.Self, "Uid:\t0\t1000\t0\t0\nCapEff:\t0000000000000000\n", EnvironmentStatus.Warning, "only the caller's own id shall be mapped")]
    public void Which_ids_functions_get_follows_from_rights_and_wishes(IdMappingMethod? method, string status, EnvironmentStatus expected, string found)
    {
        using FakeSystem system = new FakeSystem().Put("/proc/self/status", status);
        AssertIds(system, method, expected, found);
    }

    [TestCase("{0}:100000:65536", Nobody, EnvironmentStatus.Ok, "user ids 100000-165535 (65536)")]
    [TestCase("{1}:100000:65536", Nobody, EnvironmentStatus.Ok, "user ids 100000-165535")]
    [TestCase("{0}:100000:1000\n{0}:200000:64536", Nobody, EnvironmentStatus.Ok, "user ids 100000-100999, 200000-264535 (65536)")]
    [TestCase("{0}:100000:65536\n{0}:300000:4000000", Nobody, EnvironmentStatus.Ok, "user ids 100000-165535, 300000-4299999 (4065536)")]
    [TestCase("# a comment\nother:1:1\n{0}:x:65536\n{0}:100000:1000", Nobody, EnvironmentStatus.Warning, "100000-100999 (1000)")]
    [TestCase("{0}:x:65536\n{0}:100000:65536", Nobody, EnvironmentStatus.Warning, "/etc/subuid, line 1, has a field that is no plain number")]
    [TestCase("{0}:100000:65536\r", Nobody, EnvironmentStatus.Failed, "/etc/subuid, line 1, ends with a carriage return")]
    [TestCase("\n{0}:100000: 65536", Nobody, EnvironmentStatus.Failed, "/etc/subuid, line 2, has a blank")]
    [TestCase("{0} :100000:65536", Nobody, EnvironmentStatus.Failed, "has a blank")]
    [TestCase("{0}:0100000:65536", Nobody, EnvironmentStatus.Failed, "no plain number")]
    [TestCase("{0}:100000:65536:", Nobody, EnvironmentStatus.Failed, "has 4 fields")]
    [TestCase("{0}:100000:0", Nobody, EnvironmentStatus.Failed, "grants no id")]
    [TestCase("{0}:100000:65536\nother:165535:1", Nobody, EnvironmentStatus.Warning, "165535, subordinate ids of 'other' (/etc/subuid, line 2)")]
    [TestCase("other:100000:65536", Nobody, EnvironmentStatus.Warning, "has no line for user")]
    [TestCase("{0}:100000:65536", "CapEff:\t0\nNoNewPrivs:\t1\n", EnvironmentStatus.Failed, "may gain no privileges")]
    public void Subordinate_ids_are_read_by_name_and_number(string lines, string status, EnvironmentStatus expected, string found)
    {
        string content = string.Format(System.Globalization.CultureInfo.InvariantCulture, lines, Environment.UserName, Posix.EffectiveUserId) + "\n";
        using FakeSystem system = new FakeSystem().Put("/etc/subuid", content).Put("/etc/subgid", content).Put("/proc/self/status", status);
        AssertIds(system, null, expected, found);
    }

    [Test]
    public void A_helper_on_a_nosuid_mount_is_found_out()
    {
        string line = $"{Environment.UserName}:100000:65536\n";
        using FakeSystem system = new FakeSystem().Put("/etc/subuid", line).Put("/etc/subgid", line)
            .Put("/proc/self/mountinfo", "21 1 8:1 / / rw,nosuid - ext4 /dev/sda1 rw\n");
        AssertIds(system, null, EnvironmentStatus.Failed, "nosuid");
    }

    [Test]
    public void Cgroups_that_cannot_be_used_are_a_warning_that_says_what_is_refused()
    {
        File.WriteAllText($"{_directory}/mountinfo", "");
        File.WriteAllText($"{_directory}/cgroup", "0::/\n");
        EnvironmentCheck[] checks = [.. EnvironmentChecker.CheckCgroups(new CgroupPaths { MountInfo = $"{_directory}/mountinfo", SelfCgroup = $"{_directory}/cgroup" })];
        Assert.That(checks.Select(c => c.Status), Is.All.EqualTo(EnvironmentStatus.Warning));
        Assert.That(checks[0].Found, Does.EndWith(": a run that asks for a memory limit is refused"));
        Assert.That(checks[2].Found, Does.EndWith(": the number of processes is not limited"));
    }

    private static void AssertCache(string directory, SystemFiles files, EnvironmentStatus status, string found)
    {
        EnvironmentCheck check = CacheChecks.Directory(new EnvironmentCheckOptions { CacheDirectory = directory, Files = files });
        Assert.That(check.Found, Does.Contain(found));
        Assert.That(check.Status, Is.EqualTo(status), check.Found);
    }

    private static void AssertIds(FakeSystem system, IdMappingMethod? method, EnvironmentStatus status, string found)
    {
        EnvironmentCheck check = EnvironmentChecker.CheckIds(new EnvironmentCheckOptions { CacheDirectory = "/x", Ids = new() { Method = method }, Files = system.Files });
        Assert.That(check.Found, Does.Contain(found));
        Assert.That(check.Status, Is.EqualTo(status));
    }
}
