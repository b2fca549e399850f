using System.Globalization;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Hosts started under odd conditions, which functions must not notice, or without what runs need.</summary>
internal sealed class HostConditionTests : RunnerFixture
{
    private const string Look = "ls /proc/self/fd | wc -l; pwd; umask; busybox cut -d' ' -f19 /proc/self/stat; env | busybox grep -c SECRET; busybox grep -E '^Sig(Ign|Blk)' /proc/self/status | tr -s '\\t0' ' 0'; ulimit -Hn";

    [TestCase("exec 7</etc 8</dev/null 9<.; cd /usr", TestName = "{m}(descriptors and a directory)")]
    [TestCase("umask 0000", TestName = "{m}(umask 0000)")]
    [TestCase("umask 0077", TestName = "{m}(umask 0077)")]
    [TestCase("export SECRET=x", TestName = "{m}(a variable)")]
    [TestCase("trap '' CHLD", TestName = "{m}(SIGCHLD ignored)")]
    [TestCase("trap '' HUP INT QUIT USR1 USR2 PIPE TERM", TestName = "{m}(signals ignored)")]
    [CancelAfter(60_000)]
    public async Task Nothing_of_its_host_comes_to_a_function(string preparation, CancellationToken token)
    {
        ToolResult result = await RunAfterAsync(preparation, TestImage.Shell(Look), token);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(result.Output, Is.EqualTo("4\n/\n0022\n0\n0\nSigBlk: 0\nSigIgn: 0\n1024\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_nice_host_has_nice_functions_and_no_better_ones(CancellationToken token)
    {
        ToolResult result = await Tool.RunAsync("nice", ["-n", "7", HostProcess.Xfn, "run", "--cache-dir", Cache, Write(TestImage.Shell("busybox cut -d' ' -f19 /proc/self/stat; busybox renice -n -1 $$ 2>/dev/null || echo refused")), "/dev/null"], token);
        Assert.That(result.Output, Is.EqualTo("7\nrefused\n"), result.Error);
    }

    [Test, CancelAfter(120_000)]
    public async Task A_host_with_few_descriptors_runs_or_says_what_it_lacks([Values(64, 256)] int descriptors, CancellationToken token)
    {
        if (descriptors == 64 && HostProcess.IsThisProgram)
            Assert.Ignore("The host is the test program here, which needs as many for its own assemblies.");
        ToolResult result = await RunAfterAsync($"ulimit -n {descriptors}", TestImage.Shell("ulimit -n; echo ran"), token);
        if (result.ExitCode == 0)
            Assert.That(result.Output, Is.EqualTo($"{Math.Min(descriptors, 1024)}\nran\n"));
        else
            Assert.That((result.ExitCode, result.Error), Is.EqualTo((125, result.Error)));
        Assert.That(result.Error, Does.Not.Contain("Unhandled").And.Not.Contain("   at "));
        Assert.That(descriptors < 256 || result.ExitCode == 0, result.Error);
        ToolResult next = await RunAfterAsync("true", TestImage.Shell("echo ran"), token);
        Assert.That(next.Output, Is.EqualTo("ran\n"), next.Error);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_filter_that_lets_no_host_be_named_is_told_and_foreseen(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root can have a filter and the use of setuid programs, newuidmap for one.");

        // As podman's: sethostname fails with EPERM.
        const string script = """
            import ctypes, os, platform, struct, sys
            number = {'x86_64': 170, 'aarch64': 161}[platform.machine()]
            code = b''.join(struct.pack('HBBI', *line) for line in [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)])
            text = ctypes.create_string_buffer(code)
            assert ctypes.CDLL(None).prctl(22, 2, struct.pack('HP', len(code) // 8, ctypes.addressof(text))) == 0
            os.execv(sys.argv[1], sys.argv[1:])
            """;
        Task<ToolResult> RunAsync(params string[] arguments) => Tool.RunAsync("/usr/bin/python3", ["-c", script, HostProcess.Xfn, .. arguments], token);

        const string found = "a seccomp filter of an outer container forbids sethostname";
        ToolResult run = await RunAsync("run", "--cache-dir", Cache, Write(TestImage.Shell("echo ran")), "/dev/null");
        Assert.That((run.ExitCode, run.Output), Is.EqualTo((125, "")), run.Error);
        Assert.That(run.Error, Does.Contain(found).And.Contain("--security-opt seccomp=unconfined"));
        ToolResult doctor = await RunAsync("doctor", "--cache-dir", Cache);
        Assert.That(doctor.ExitCode, Is.EqualTo(1), doctor.Error);
        Assert.That(doctor.Output, Does.Match($"(?m)^failed +user namespaces +{found}"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_host_that_may_make_no_user_namespaces_is_told_by_which_setting(CancellationToken token)
    {
        if (Environment.IsPrivilegedProcess && !Ways.IsRoot)
            Assert.Ignore("Root without CAP_SYS_ADMIN and CAP_SETFCAP cannot make itself a namespace with such a setting.");
        ToolResult result = await Tool.RunAsync(
            "unshare",
            [
                "--user", "--map-user=1000", "--map-group=1000", "--keep-caps",
                "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all \"$0\" \"$@\"",
                HostProcess.Xfn, "run", "--cache-dir", Cache, Write(TestImage.Shell("echo ran")), "/dev/null",
            ],
            token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((125, "")), result.Error);
        Assert.That(result.Error, Does.Contain("user.max_user_namespaces is 0").And.Contain("sysctl -w"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_host_that_may_gain_no_privileges_runs_functions_unless_it_was_to_map_subordinate_ids(CancellationToken token)
    {
        ToolResult result = await Tool.RunAsync(
            "setpriv", ["--no-new-privs", HostProcess.Xfn, "run", "--cache-dir", Cache, Write(TestImage.Shell("echo ran")), "/dev/null"], token);
        if (Environment.IsPrivilegedProcess || !Ways.HasManyIds)
        {
            Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, "ran\n")), result.Error);
        }
        else
        {
            Assert.That(result.ExitCode, Is.EqualTo(125), result.Output);
            Assert.That(result.Error, Does.Contain("no_new_privs").And.Contain("(--option IdMapping=Self)"));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_root_without_any_capability_is_told_what_it_lacks(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root with all its capabilities can give them all up.");
        ToolResult result = await Tool.RunAsync(
            "setpriv", ["--bounding-set=-all", "--inh-caps=-all", HostProcess.Xfn, "run", "--cache-dir", Cache, Write(TestImage.Shell("echo ran")), "/dev/null"], token);
        Assert.That(result.ExitCode, Is.EqualTo(125), result.Output);
        Assert.That(result.Error, Does.Contain("root without CAP_SETFCAP").And.Contain("Run it as another user"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_spark_that_is_killed_takes_its_function_along_and_is_told_from_it(CancellationToken token)
    {
        await using var gate = new GatedInput();
        TestRunner runner = NewRunner(o => o.ReadyNamespaces = 0);
        Task<RunFunctionResponse> run = runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Command("cat")) }, gate.Streams, token);
        await gate.Reached.WaitAsync(token);
        string spark = Directory.GetDirectories("/proc").First(IsSpark);
        if (!Signals.Send(int.Parse(Path.GetFileName(spark), CultureInfo.InvariantCulture), Signals.Kill))
        {
            // A user may not signal what runs as another id. It ends when its stdin does, which the disposal sees to.
            await runner.DisposeAsync();
            await Assert.ThatAsync(() => run, Throws.InstanceOf<ObjectDisposedException>());
            return;
        }

        await Assert.ThatAsync(() => run, Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("xfn-spark").And.Message.Contains("killed"));
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Command("cat"), "next"), Input = "x"u8.ToArray() }, token)).Output), Is.EqualTo("x"));
    }

    /// <summary>Whether a process is a spark of this one's: a child of the unshare or fork server that made
    /// it.</summary>
    private static bool IsSpark(string process) =>
        Stat(process) is ("xfn-spark", var maker) && Stat($"/proc/{maker}") is ("unshare" or "xfn-spark", var parent) && parent == $"{Environment.ProcessId}";

    private static (string Name, string Parent)? Stat(string process)
    {
        if (!int.TryParse(Path.GetFileName(process), out _))
            return null;
        try
        {
            string stat = File.ReadAllText(Path.Combine(process, "stat"));
            int close = stat.LastIndexOf(')');
            return (stat[(stat.IndexOf('(') + 1)..close], stat[(close + 4)..].Split(' ')[0]);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private Task<ToolResult> RunAfterAsync(string preparation, TestImage image, CancellationToken token) =>
        HostProcess.RunAfterAsync(preparation, ["run", "--cache-dir", Cache, Write(image, $"image{Random.Shared.Next()}"), "/dev/null"], token);
}
