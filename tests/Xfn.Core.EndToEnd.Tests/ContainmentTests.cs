using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Xfn.Core.Bundles;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a function may not do, tried from inside in every way to run.</summary>
internal sealed class ContainmentTests : RunnerFixture
{
    private static readonly string[] Forbidden =
    [
        "echo 1 >/proc/sys/kernel/hostname",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        "echo c >/proc/sysrq-trigger",
        "echo 1 >/sys/fs/cgroup/cgroup.max.depth",
        "busybox mkdir /sys/fs/cgroup/x",
        "touch /sys/x",
        "echo -1000 >/proc/self/oom_score_adj",
        "echo '0 0 1' >/proc/self/uid_map",
        "echo '0 0 1' >/proc/1/gid_map",
        "ulimit -n 1025",
        "ulimit -l 65",
        "ulimit -s 65537",
        "mount -t tmpfs x /tmp",
        "mount -t proc proc /tmp",
        "mount -o remount,rw /",
        "busybox umount /proc/keys",
        "busybox pivot_root / /tmp",
        "busybox chroot / true",
        "busybox unshare -U true",
        "busybox unshare -m true",
        "busybox nsenter -t 1 -m true",
        "busybox mknod /tmp/n c 1 3",
        "busybox mknod /tmp/n b 8 0",
        "busybox hostname x",
        // What covers it can be read, and is empty.
        "busybox head -c 4 /proc/kcore | busybox grep -q .",
        "cat /proc/kmsg",
        "busybox dmesg",
        "busybox insmod /bin/busybox",
        "busybox swapon /tmp",
        "cat /dev/mem",
        "echo x >/bin/busybox",
        "echo x >/proc/self/exe",
        "busybox renice -5 $$",

        // Before Linux 5.14 only the cgroup has such a limit: this one would be that of all runs together.
        .. Rlimits.CountsProcessesByNamespace ? (string[])["ulimit -u 257"] : [],
    ];

    [Test, CancelAfter(60_000)]
    public async Task What_is_not_a_functions_business_fails(CancellationToken token)
    {
        string script = string.Concat(Forbidden.Select((command, i) => $"({command}) >/dev/null 2>&1 </dev/null && echo {i}\n")) + "echo end";
        string[] did = Text((await RunShellAsync(script, token: token)).Output).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(did[..^1].Select(i => Forbidden[int.Parse(i, null)]), Is.Empty);
        Assert.That(did[^1], Is.EqualTo("end"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_starts_clean(CancellationToken token)
    {
        string seen = Text((await RunShellAsync(
            "cat /proc/self/oom_score_adj; cat /proc/keys; ulimit -Hn; ulimit -c; umask; busybox cut -d' ' -f19 /proc/self/stat; ls /proc/self/fd | wc -l; env | busybox sort; busybox grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t0' ' 0'", token: token)).Output);
        Assert.That(seen, Is.EqualTo("1000\n1024\n" + Core(seen) + "\n0022\n0\n4\nHOME=/root\nHOSTNAME=xfn\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nSHLVL=1\n"
            + "CapEff: 0\nNoNewPrivs: 1\nSeccomp: 2\n"));

        // busybox counts in blocks of 512 bytes, of which one byte is none; 0 where the runner's own limit is that.
        static string Core(string seen) => seen.Split('\n')[2] is "0" or "1" ? seen.Split('\n')[2] : "0 or 1";
    }

    [Test, CancelAfter(120_000)]
    public async Task System_calls_of_an_attack_fail_with_an_error(CancellationToken token)
    {
        byte[] content = await TestProgram.BuildAsync("syscalls", Scratch, token);
        TestImage image = TestImage.Command("/syscalls").WithLayer(tar => tar.File("syscalls", content, (UnixFileMode)0b111_101_101));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token);
        string[] parts = Text(response.Output).Split("ordinary\n");
        Assert.Multiple(() =>
        {
            Assert.That(parts[0].Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Length.GreaterThan(50).And.None.EndsWith(" 0").And.None.EndsWith(" survived"));
            Assert.That(parts[1], Does.Contain("getpid 0").And.Contain("af_inet 0"));
        });
    }

    [Test, CancelAfter(60_000)]
    public async Task The_programs_that_run_a_function_cannot_be_overwritten_by_it(CancellationToken token)
    {
        await NewRunner().PullAsync(Write(TestImage.Command("cat")), cancellationToken: token);
        TestImage image = TestImage.Command("/evil").WithLayer(tar => tar.File(
            "evil", "#!/bin/sh\ni=0; while [ $i -lt 100 ]; do for f in /proc/[0-9]*/exe /proc/self/exe /proc/1/exe; do echo x >$f; done; i=$((i+1)); done\n", (UnixFileMode)0b111_101_101));
        TestImage self = TestImage.Command("/self").WithLayer(tar => tar.File("self", "#!/proc/self/exe\n", (UnixFileMode)0b111_101_101));
        Task<byte[]> HashAsync(string path) => Task.Run(() => SHA256.HashData(File.ReadAllBytes(path)), token);
        string spark = Directory.GetFiles(Path.Combine(Cache, "bin")).Single();
        byte[] crun = await HashAsync("/usr/bin/crun"), before = await HashAsync(spark);
        foreach (string reference in new[] { Write(image, "evil"), Write(self, "self") })
        {
            try
            {
                await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = reference }, token);
            }
            catch (XfnException)
            {
                // Whether the function ends well is its own affair.
            }
        }

        Assert.That(await HashAsync("/usr/bin/crun"), Is.EqualTo(crun));
        Assert.That(await HashAsync(spark), Is.EqualTo(before));
    }

    [Test, CancelAfter(120_000)]
    public async Task The_hosts_servers_are_out_of_reach_unless_the_network_is_the_runners(CancellationToken token)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        string image = Write(TestImage.Shell($"busybox nc -w 2 127.0.0.1 {port} </dev/null && echo reached; ls /sys/class/net 2>/dev/null; busybox ip route 2>/dev/null; busybox nc -w 1 192.0.2.254 80 </dev/null && echo metadata; echo end"));
        TestRunner runner = NewRunner();
        string isolated = Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, token)).Output);
        Assert.That(isolated, Is.EqualTo("lo\nend\n"));
        Assert.That(listener.Pending(), Is.False);

        Task<RunFunctionResponse> open = runner.RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell($"busybox nc -w 20 127.0.0.1 {port} </dev/null"), "open"), RunFunctionConfig = new() { Network = NetworkPolicy.Runner } }, token);
        Task<TcpClient> accepted = listener.AcceptTcpClientAsync(token).AsTask();
        if (await Task.WhenAny(accepted, open) == open)
            Assert.Fail("The function ended without a connection: " + Text((await open).Output));
        using (TcpClient client = await accepted)
            await client.GetStream().WriteAsync("hello"u8.ToArray(), token);
        Assert.That(Text((await open).Output), Is.EqualTo("hello"));
    }

    [TestCase("/tmp")]
    [TestCase("/dev/shm")]
    [TestCase("/dev")]
    [CancelAfter(60_000)]
    public async Task A_directory_in_memory_is_full_at_its_size_and_at_its_number_of_files(string directory, CancellationToken token)
    {
        string output = Text((await RunShellAsync(
            $"cd {directory}; i=0; while [ $i -lt 6000 ] && true >f$i; do i=$((i+1)); done 2>/dev/null; echo $i; busybox rm -f f*; dd if=/dev/zero of=f bs=64k count=2000 2>/dev/null; stat -c %s f",
            configure: o => o.Bundle = new() { TmpBytes = 2 << 20, TmpFiles = 1000 }, token: token)).Output);
        string[] lines = output.Split('\n');
        Assert.That(int.Parse(lines[0], null), Is.InRange(10, directory == "/tmp" ? 1000 : 4096), output);
        Assert.That(long.Parse(lines[1], null), Is.InRange(1, directory == "/tmp" ? 2 << 20 : 64 << 20), output);
    }

    [Test, CancelAfter(60_000)]
    public async Task Files_in_memory_count_as_the_functions_memory(CancellationToken token)
    {
        try
        {
            await NewRunner().RunFunctionAsync(new RunFunctionRequest
            {
                Image = Write(TestImage.Shell("dd if=/dev/zero of=/dev/shm/f bs=1M count=60; sleep 100")),
                RunFunctionConfig = new() { Limits = new() { MemoryBytes = 24 << 20 } },
            }, token);
            Assert.Fail("the function ended well");
        }
        catch (FunctionExitedException error)
        {
            Assert.That((error.OutOfMemory, error.Signal), Is.EqualTo((true, (int?)9)));
        }
        catch (ContainerEnvironmentException) when (!Ways.IsRoot)
        {
            Assert.Ignore("This user may set no limit of memory; LimitTests has what it is told then.");
        }
    }
}
