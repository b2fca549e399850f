using System.Diagnostics;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

/// <summary>What a function sees and may do, asked from inside: once with 65,536 ids, once with one.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[CancelAfter(60_000)]
[TestFixture(false)]
[TestFixture(true)]
internal sealed class ContainerTests(bool singleId)
{
    private ContainerRun _run = null!;

    [SetUp]
    public void SetUp()
    {
        ContainerRun.Require();
        _run = new ContainerRun();
    }

    [TearDown]
    public void TearDown() => _run?.Dispose();

    [TestCase("id -u; id -g", "0\n0\n")]
    [TestCase("pwd; hostname; umask; env | sort", "/\nxfn\n0022\nHOME=/root\nHOSTNAME=xfn\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nSHLVL=1\n")]
    [TestCase("grep -E '^(Cap|NoNew|Seccomp:|SigIgn|SigBlk)' /proc/self/status | tr -s '\t0' ' 0' | sort", """
        CapAmb: 0
        CapBnd: 0
        CapEff: 0
        CapInh: 0
        CapPrm: 0
        NoNewPrivs: 1
        Seccomp: 2
        SigBlk: 0
        SigIgn: 0

        """)]
    [TestCase("ulimit -n; ulimit -l; ulimit -u; ulimit -s; ulimit -Hn; ulimit -Hs", "1024\n64\n256\n8192\n1024\n65536\n")]
    [TestCase("cat /proc/self/oom_score_adj", "1000\n")]
    [TestCase("stat -c %a /tmp /dev/shm /dev/mqueue /dev /", "1777\n1777\n1777\n755\n755\n")]
    [TestCase("ls /dev", "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n")]
    [TestCase("echo /proc/[0-9]*", "/proc/1\n")]
    [TestCase("ls /sys/class/net", "lo\n")]
    [TestCase("ls -A /sys/firmware; ls -A /sys/dev/block; cat /proc/keys /proc/interrupts /proc/timer_list", "")]
    [TestCase("ls /proc/self/fd | wc -l", "4\n")]
    [TestCase("cat /proc/self/cgroup | grep ^0:", "0::/\n")]
    [TestCase("echo x >/tmp/f && echo x >/dev/shm/f && cat /tmp/f /dev/shm/f", "x\nx\n")]
    [TestCase("cat /bin/busybox >/tmp/busybox; chmod 755 /tmp/busybox; /tmp/busybox true && echo ran", "ran\n")]
    [TestCase("mkfifo /tmp/p && (echo x >/tmp/p & cat /tmp/p)", "x\n")]
    public async Task A_function_sees(string script, string expected, CancellationToken token)
    {
        ToolResult result = await Run(script, token);
        Assert.That(result.Output, Is.EqualTo(expected), result.Error);
    }

    [TestCase("touch /x")]
    [TestCase("touch /bin/x")]
    [TestCase("echo 1 >/proc/sys/kernel/hostname")]
    [TestCase("echo 1 >/proc/sys/net/ipv4/ip_forward")]
    [TestCase("echo c >/proc/sysrq-trigger")]
    [TestCase("echo 0 >/sys/class/net/lo/ifalias")]
    [TestCase("echo 1 >/sys/fs/cgroup/cgroup.max.depth")]
    [TestCase("mkdir /sys/fs/cgroup/x")]
    [TestCase("echo -1000 >/proc/self/oom_score_adj")]
    [TestCase("echo '0 0 1' >/proc/self/uid_map")]
    [TestCase("ulimit -n 1025")]
    [TestCase("ulimit -u 257")]
    [TestCase("ulimit -l 65")]
    [TestCase("mount -t tmpfs x /tmp")]
    [TestCase("umount /proc/keys")]
    [TestCase("mount -o remount,rw /")]
    [TestCase("hostname x")]
    [TestCase("unshare -U true")]
    [TestCase("mknod /tmp/n c 1 3")]
    [TestCase("cat /bin/busybox >/dev/shm/busybox; chmod 755 /dev/shm/busybox; /dev/shm/busybox true")]
    [TestCase("cat </proc/kcore")]
    [TestCase("cat /proc/kmsg")]
    [TestCase("dmesg")]
    [TestCase("ping -c 1 -W 1 127.0.0.1")]
    [TestCase("nc -w 1 192.0.2.254 80 </dev/null")]
    [TestCase("nc -w 1 192.0.2.53 53 </dev/null")]
    public async Task A_function_may_not(string script, CancellationToken token)
    {
        ToolResult result = await Run($"({script}) && echo did", token);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Output, Does.Not.Contain("did"));
            // The shell ran: it was not the start that failed.
            Assert.That(result.ExitCode, Is.InRange(1, 127));
            Assert.That(result.Error, Does.Not.Contain("crun"));
        }
    }

    // A page is left of what the file could not take.
    [TestCase("/tmp", 1 << 20)]
    [TestCase("/dev", 64 << 10)]
    [TestCase("/dev/shm", 64 << 20)]
    public async Task A_file_system_in_memory_is_full_at_its_size(string directory, long bytes, CancellationToken token)
    {
        ToolResult result = await Run($"dd if=/dev/zero of={directory}/f bs=4k 2>&1; stat -c %s {directory}/f", token, new BundleOptions { TmpBytes = 1 << 20 });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Output, Does.Contain("No space left"));
            Assert.That(long.Parse(result.Output.Trim().Split('\n')[^1], null), Is.InRange(1, bytes));
        }
    }

    [TestCase("/tmp")]
    [TestCase("/dev")]
    [TestCase("/dev/shm")]
    public async Task A_file_system_in_memory_is_full_at_its_number_of_files(string directory, CancellationToken token)
    {
        ToolResult result = await Run(
            $"cd {directory}; i=0; while [ $i -lt 5000 ] && true >f$i; do i=$((i+1)); done; echo $i", token, new BundleOptions { TmpFiles = 100 });
        Assert.That(int.Parse(result.Output, null), Is.LessThan(4097));
    }

    [Test]
    public async Task A_writable_root_is_written_to(CancellationToken token)
    {
        ToolResult result = await Run("mkdir -p /a/b && echo x >/a/b/x && cat /a/b/x", token, new BundleOptions { WritableRootBytes = 1 << 20 });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Output, Is.EqualTo("x\n"), result.Error);
            Assert.That(Directory.Exists(Path.Combine(_run.Image, "a")), Is.False);
        }
    }

    [Test]
    public async Task Nothing_can_be_executed_from_tmp_when_told_so(CancellationToken token)
    {
        ToolResult result = await Run("cat /bin/busybox >/tmp/busybox; chmod 755 /tmp/busybox; /tmp/busybox true", token, new BundleOptions { TmpExecutable = false });
        Assert.That(result.ExitCode, Is.EqualTo(126), result.Error);
    }

    [Test]
    public async Task With_the_runners_network_sys_shows_nothing_of_the_machine_and_names_are_resolved_as_outside(CancellationToken token)
    {
        ToolResult result = await Run("ls /sys /sys/fs; cat /etc/resolv.conf; touch /sys/x /etc/resolv.conf", token, network: NetworkPolicy.Runner);
        Assert.That(result.Output, Is.EqualTo("/sys:\nfs\n\n/sys/fs:\ncgroup\n" + await File.ReadAllTextAsync("/etc/resolv.conf", token)), result.Error);
    }

    [TestCase("mount -o remount,bind,ro /sys")]
    [TestCase("mount -t tmpfs -o ro mask /sys/firmware")]
    public async Task Within_another_container_sys_shows_nothing_of_it(string outside, CancellationToken token)
    {
        using var run = new ContainerRun { Outside = outside };
        // What a runner sees there, simplified.
        var builder = new RuntimeBundleBuilder(new BundleOptions(), "1 0 0:1 / / rw,relatime - overlay overlay rw\n2 1 0:2 / /sys ro,relatime - sysfs sysfs ro\n");
        ContainerSpecification container = builder.Build(Context(Shell("ls /sys /sys/fs"), singleId ? SingleMapping : FullMapping));
        ToolResult result = await run.RunAsync(container, singleId, token);
        Assert.That(result.Output, Is.EqualTo("/sys:\nfs\n\n/sys/fs:\ncgroup\n"), result.Error);
    }

    [Test]
    public async Task Extra_mounts_are_seen_read_only_and_beside_what_the_image_has(CancellationToken token)
    {
        Directory.CreateDirectory(Path.Combine(_run.Image, "etc"));
        await File.WriteAllTextAsync(Path.Combine(_run.Image, "etc/mine"), "mine\n", token);
        var options = new BundleOptions { ReadOnlyMounts = [new("/etc/hostname", "/etc/outer"), new("/usr/share", "/tmp/a/share"), new("/usr/share", "/opt/b/share")] };
        ToolResult result = await Run(
            "cat /etc/mine /etc/outer; ls -d /tmp/a/share/doc /opt/b/share/doc; touch /opt/b/share/x || touch /tmp/a/share/x || echo x >/etc/outer", token, options);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Output, Is.EqualTo($"mine\n{await File.ReadAllTextAsync("/etc/hostname", token)}/opt/b/share/doc\n/tmp/a/share/doc\n"), result.Error);
            Assert.That(result.ExitCode, Is.Not.Zero);
        }
    }

    [TestCase("/srv/app/work")]
    [TestCase("/tmp/work")]
    public async Task A_working_directory_that_the_image_lacks_is_made(string directory, CancellationToken token)
    {
        ToolResult result = await Run(Shell("pwd") with { WorkingDir = directory }, token);
        Assert.That(result.Output, Is.EqualTo(directory + "\n"), result.Error);
    }

    [Test]
    public async Task A_mount_point_that_the_image_made_something_else_stays_inside(
        [Values("dev", "proc", "sys", "tmp", "etc")] string name, [Values("link", "dangling", "file", "pipe")] string kind, CancellationToken token)
    {
        string outside = Directory.CreateTempSubdirectory("xfn-outside-").FullName;
        try
        {
            File.SetUnixFileMode(outside, (UnixFileMode)0b111_111_111);
            string point = Path.Combine(_run.Image, name);
            if (kind == "file")
                await File.WriteAllTextAsync(point, "", token);
            else if (kind == "pipe")
                await MakePipe(point, token);
            else
                File.CreateSymbolicLink(point, kind == "link" ? outside : Path.Combine(outside, "none"));
            ToolResult result = await Run("echo x >/tmp/x; ls -d /proc/self /dev/null; ls /etc/resolv.conf", token, network: NetworkPolicy.Runner);
            using (Assert.EnterMultipleScope())
            {
                Assert.That(Directory.EnumerateFileSystemEntries(outside), Is.Empty);
                Assert.That(result.Output, Is.EqualTo("/dev/null\n/proc/self\n/etc/resolv.conf\n"), result.Error);
            }
        }
        finally
        {
            Directory.Delete(outside, recursive: true);
        }
    }

    [Test]
    public async Task What_the_image_has_in_dev_is_not_what_paths_are_masked_with(CancellationToken token)
    {
        string dev = Directory.CreateDirectory(Path.Combine(_run.Image, "dev")).FullName;
        File.CreateSymbolicLink(Path.Combine(dev, "null"), "../proc/sys/kernel/core_pattern");
        File.CreateSymbolicLink(Path.Combine(dev, "pts"), "../proc");
        File.CreateSymbolicLink(Path.Combine(dev, "shm"), "/");
        ToolResult result = await Run("stat -c %F /dev/null /dev/pts /dev/shm; cat /proc/keys; echo x >/proc/sys/kernel/core_pattern || echo refused", token);
        Assert.That(result.Output, Is.EqualTo("character special file\ndirectory\ndirectory\nrefused\n"), result.Error);
    }

    [TestCase("#!/proc/self/exe\n")]
    [TestCase("#!/bin/sh\ni=0; while [ $i -lt 50 ]; do for f in /proc/[0-9]*/exe /proc/self/exe; do echo x >$f; done; i=$((i+1)); done\n")]
    public async Task The_runtimes_program_cannot_be_overwritten(string script, CancellationToken token)
    {
        string runtime = Path.Combine(Directory.CreateTempSubdirectory("xfn-runtime-").FullName, "crun");
        try
        {
            File.SetUnixFileMode(Path.GetDirectoryName(runtime)!, (UnixFileMode)0b111_101_101);
            File.Copy("/usr/bin/crun", runtime);
            using var run = new ContainerRun { Runtime = runtime };
            string evil = Path.Combine(run.Image, "evil");
            await File.WriteAllTextAsync(evil, script, token);
            File.SetUnixFileMode(evil, (UnixFileMode)0b111_101_101);
            await run.RunAsync(new RuntimeBundleBuilder().Build(Context(new() { Entrypoint = ["/evil"] }, singleId ? SingleMapping : FullMapping)), singleId, token);
            Assert.That(await File.ReadAllBytesAsync(runtime, token), Is.EqualTo(await File.ReadAllBytesAsync("/usr/bin/crun", token)));
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(runtime)!, recursive: true);
        }
    }

    [Test]
    public async Task A_passwd_file_that_is_a_pipe_holds_nothing_up(CancellationToken token)
    {
        Directory.CreateDirectory(Path.Combine(_run.Image, "etc"));
        await MakePipe(Path.Combine(_run.Image, "etc/passwd"), token);
        ToolResult result = await Run("echo $HOME", token);
        Assert.That(result.Output, Is.EqualTo("/root\n"), result.Error);
    }

    [Test]
    public async Task Capabilities_that_were_added_are_effective(CancellationToken token)
    {
        ToolResult result = await Run("grep CapEff /proc/self/status", token, new BundleOptions { AddedCapabilities = ["CAP_NET_BIND_SERVICE"] });
        Assert.That(result.Output, Is.EqualTo("CapEff:\t0000000000000400\n"), result.Error);
    }

    private static async Task MakePipe(string path, CancellationToken token)
    {
        using Process mkfifo = Process.Start("mkfifo", path);
        await mkfifo.WaitForExitAsync(token);
    }

    private Task<ToolResult> Run(string script, CancellationToken token, BundleOptions? options = null, NetworkPolicy network = default) =>
        Run(Shell(script), token, options, network);

    private Task<ToolResult> Run(ImageExecutionConfig config, CancellationToken token, BundleOptions? options = null, NetworkPolicy network = default) =>
        _run.RunAsync(new RuntimeBundleBuilder(options).Build(Context(config, singleId ? SingleMapping : FullMapping, network: network)), singleId, token);
}
