using Mono.Unix.Native;
using Xfn.Core.Cgroups;

namespace Xfn.Core.Tests.Cgroups;

/// <summary>Trees of files that look like cgroup file systems.</summary>
public class CgroupDetectionTests
{
    private string _root = "";

    [SetUp]
    public void Make_a_tree() => _root = Directory.CreateTempSubdirectory("xfn-detect-").FullName;

    [TearDown]
    public void Remove_the_tree() => Directory.Delete(_root, recursive: true);

    [Test]
    public void On_version_2_a_delegated_cgroup_of_this_process_is_used()
    {
        MakeV2("", "cpuset cpu io memory pids");
        MakeV2("/app.slice/mine", "cpu memory pids");
        CgroupSupport support = Detect("0::/app.slice/mine\n", V2Mount("/"));
        Assert.That(support.Usable, Is.EqualTo(CgroupControllers.Memory | CgroupControllers.Cpu | CgroupControllers.Pids));
        Assert.That(support.Controllers[0].Found, Is.EqualTo($"version 2, below {_root}/app.slice/mine"));
    }

    [Test]
    public void A_process_that_was_moved_to_the_leaf_uses_the_cgroup_above_it()
    {
        MakeV2("/mine", "cpu memory pids");
        MakeV2("/mine/xfn-host", "cpu memory pids");
        Assert.That(Detect("0::/mine/xfn-host\n", V2Mount("/")).Controllers[0].Found, Does.EndWith("below " + _root + "/mine"));
    }

    [Test]
    public void A_controller_that_was_not_delegated_is_named_with_the_remedy()
    {
        MakeV2("/mine", "memory pids");
        CgroupSupport support = Detect("0::/mine\n", V2Mount("/"));
        ControllerSupport cpu = support.Controllers.Single(c => c.Name == "cpu");
        Assert.That(cpu.IsUsable, Is.False);
        Assert.That(cpu.Found, Does.EndWith("cgroup.controllers' does not list cpu, only 'memory pids'"));
        Assert.That(cpu.Remedy, Does.Contain("Delegate=cpu memory pids"));
        Assert.That(support.Usable, Is.EqualTo(CgroupControllers.Memory | CgroupControllers.Pids));
    }

    [Test]
    public void Root_does_not_use_a_unit_that_systemd_did_not_delegate()
    {
        MakeV2("", "cpu memory pids");
        MakeV2("/foo.service", "cpu memory pids");
        // What others may write to was delegated to them.
        if (!Environment.IsPrivilegedProcess)
        {
            Assert.That(Detect("0::/foo.service\n", V2Mount("/")).Controllers[0].Found, Is.EqualTo($"version 2, below {_root}/foo.service"));
            return;
        }

        ControllerSupport support = Detect("0::/foo.service\n", V2Mount("/")).Controllers[0];
        Assert.That(support.IsUsable, Is.False);
        Assert.That(support.Found, Is.EqualTo("cgroup '/foo.service' is systemd's, which did not delegate it to this program"));
        Assert.That(support.Remedy, Does.Contain("systemd-run --user --scope -p Delegate=yes"));

        // Only the root cgroup lacks this file.
        File.Delete($"{_root}/cgroup.type");
        support = Detect("0::/foo.service\n", V2Mount("/")).Controllers[0];
        Assert.That(support.IsUsable);
        Assert.That(support.Found, Does.StartWith($"version 2, below {_root}, since this program's own cgroup is not delegated to it"));

        Assert.That(Syscall.setxattr($"{_root}/foo.service", "trusted.delegate", "1"u8.ToArray()), Is.Zero);
        Assert.That(Detect("0::/foo.service\n", V2Mount("/")).Controllers[0].Found, Is.EqualTo($"version 2, below {_root}/foo.service"));
    }

    [Test]
    public void In_a_container_the_mount_shows_only_what_is_below_its_root()
    {
        MakeV2("", "cpu memory pids");
        Assert.That(Detect("0::/docker/abc\n", V2Mount("/docker/abc")).Controllers[0].Found, Does.EndWith($"below {_root}"));
        CgroupSupport hidden = Detect("0::/../../other\n", V2Mount("/"));
        Assert.That(hidden.Usable, Is.EqualTo(CgroupControllers.None));
        Assert.That(hidden.Controllers[0].Found, Does.Contain("does not show this process's cgroup '/../../other'"));
    }

    [Test]
    public void On_a_hybrid_machine_each_controller_is_used_where_it_is()
    {
        MakeV2("/unified", "pids");
        Directory.CreateDirectory($"{_root}/memory/me");
        File.WriteAllText($"{_root}/memory/me/cgroup.procs", "");
        Directory.CreateDirectory($"{_root}/cpu,cpuacct");
        File.WriteAllText($"{_root}/cpu,cpuacct/cgroup.procs", "");
        CgroupSupport support = Detect(
            "4:memory:/me\n3:cpu,cpuacct:/\n2:name=systemd:/\n0::/\n",
            $"1 0 0:1 / {_root}/unified rw - cgroup2 cgroup2 rw\n2 0 0:2 / {_root}/memory rw - cgroup cgroup rw,memory\n"
                + $"3 0 0:3 / {_root}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
        Assert.That(support.Controllers.Select(c => c.Found), Is.EqualTo((string[])
            [$"version 1, below {_root}/memory/me", $"version 1, below {_root}/cpu,cpuacct", $"version 2, below {_root}/unified"]));
    }

    [Test]
    public void What_was_asked_for_and_cannot_be_enforced_is_an_error_with_the_remedy_before_anything_is_made()
    {
        var paths = Paths("0::/\n", "");
        var manager = CgroupManager.Detect($"{_root}/state", paths);
        Assert.That(
            () => manager.Create("x", new CgroupLimits { MemoryBytes = 1 << 20 }),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.EqualTo(
                "cannot limit memory to '1048576' bytes: the cgroup controller memory cannot be used, no cgroup file system has it. "
                + "Mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup."));
        Assert.That(() => manager.Require(new CgroupLimits { CpuMilli = 100 }), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("'100m'"));
        Assert.That(() => manager.Require(new CgroupLimits { Pids = 9, PidsAreRequired = true }), Throws.InstanceOf<ContainerEnvironmentException>());
        Assert.That(Directory.Exists($"{_root}/state"), Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task Where_nothing_can_be_enforced_and_nothing_was_asked_for_nothing_is_done(CancellationToken token)
    {
        await using var manager = CgroupManager.Detect($"{_root}/state", Paths("0::/\n", ""));
        await using Cgroup cgroup = manager.Create("x", CgroupLimits.From(new ResourceLimits()) with { MemoryBytes = 1 << 20, MemoryIsOptional = true, Expected = CgroupControllers.Memory });
        cgroup.Add(Environment.ProcessId);
        cgroup.Kill();
        Assert.That(cgroup.Read(), Is.EqualTo(new CgroupUsage()));
        Assert.That(cgroup.Directories, Is.Empty);
        Assert.That(await cgroup.WatchOutOfMemoryAsync(token), Is.False);
        Assert.That(Directory.Exists($"{_root}/state"), Is.False);
    }

    [Test]
    public void Detection_changes_nothing()
    {
        MakeV2("/mine", "cpu memory pids");
        string[] before = Directory.GetFileSystemEntries(_root, "*", SearchOption.AllDirectories);
        string paths = "0::/mine\n";
        Detect(paths, V2Mount("/"));
        Assert.That(Directory.GetFileSystemEntries(_root, "*", SearchOption.AllDirectories).Except(before).Select(Path.GetFileName), Is.EquivalentTo((string[])["self-cgroup", "mountinfo"]));
        Assert.That(File.ReadAllText($"{_root}/mine/cgroup.subtree_control"), Is.Empty);
    }

    private CgroupSupport Detect(string selfCgroup, string mountInfo) => CgroupManager.Detect($"{_root}/state", Paths(selfCgroup, mountInfo)).Support;

    private CgroupPaths Paths(string selfCgroup, string mountInfo)
    {
        File.WriteAllText($"{_root}/self-cgroup", selfCgroup);
        File.WriteAllText($"{_root}/mountinfo", mountInfo);
        return new CgroupPaths { SelfCgroup = $"{_root}/self-cgroup", MountInfo = $"{_root}/mountinfo" };
    }

    private string V2Mount(string root) => $"1 0 0:1 {root} {_root} rw,nosuid shared:1 - cgroup2 cgroup2 rw,nsdelegate\n";

    private void MakeV2(string path, string controllers)
    {
        Directory.CreateDirectory(_root + path);
        File.WriteAllText($"{_root}{path}/cgroup.controllers", controllers + "\n");
        File.WriteAllText($"{_root}{path}/cgroup.procs", "");
        File.WriteAllText($"{_root}{path}/cgroup.subtree_control", "");
        File.WriteAllText($"{_root}{path}/cgroup.type", "domain\n");
    }
}
