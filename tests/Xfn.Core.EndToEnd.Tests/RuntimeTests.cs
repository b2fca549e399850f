using System.Text;
using System.Text.Json.Nodes;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>OCI runtimes that do not behave, and who makes a container.</summary>
[NonParallelizable]
internal sealed class RuntimeTests : RunnerFixture
{
    private string _directory = "";

    /// <summary>Where every mapped root can reach it; the usual place for temporary files may be a user's own.</summary>
    [SetUp]
    public void MakeDirectory()
    {
        _directory = Directory.CreateDirectory($"/var/tmp/xfn-test-{Guid.NewGuid():N}").FullName;
        File.SetUnixFileMode(_directory, (UnixFileMode)0b111_101_101);
    }

    [TearDown]
    public void RemoveDirectory() => Directory.Delete(_directory, recursive: true);

    [TestCase("kill -9 $$", "status 137")]
    [TestCase("exit 1", "status 1")]
    [TestCase("echo 'it is broken' >&2; exit 3", "status 3")]
    [TestCase("while [ $# -gt 1 ]; do [ $1 = --log ] && echo '{\"msg\":\"no such thing\",\"level\":\"error\"}' >$2; shift; done; exit 1", "no such thing")]
    [TestCase("while [ $# -gt 1 ]; do [ $1 = --log ] && echo '{\"msg\":\"create keyring `xfn`: Disk quota exceeded\",\"level\":\"error\"}' >$2; shift; done; exit 1", "kernel.keys.maxkeys")]
    [TestCase("exit 0", "pid")]
    [CancelAfter(60_000)]
    public async Task A_runtime_that_fails_is_told_as_such(string script, string found, CancellationToken token) =>
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.WithRuntime(WriteRuntime(script)), token: token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains(found).And.Property(nameof(XfnException.Stage)).EqualTo(RunStage.Start));

    [Test, CancelAfter(60_000)]
    public async Task Warnings_of_a_runtime_do_not_keep_a_function_from_answering(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("cat; echo mine >&2", "in", o => o.WithRuntime(WriteRuntime("echo 'a warning' >&2; exec /usr/bin/crun \"$@\"")), token: token);
        Assert.That(Text(response.Output), Is.EqualTo("in"));
        Assert.That(response.StderrTail, Does.EndWith("mine\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runtime_that_hangs_is_ended_with_its_run(CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        TestRunner runner = NewRunner(o => o.WithRuntime(WriteRuntime("trap '' TERM; sleep 1000; true")));
        string image = Write(TestImage.Command("cat"));
        await runner.PullAsync(image, cancellationToken: token);
        source.CancelAfter(TimeSpan.FromSeconds(1));
        await Assert.ThatAsync(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, source.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_bundle_with_what_only_a_runtime_knows_is_run_by_crun(CancellationToken token)
    {
        var log = new LogCollector();
        RunFunctionResponse response = await RunShellAsync(
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", configure: o => (o.Runtime, o.BundleBuilder, o.Logger) = (null, new Changed(AddSysctl), log), token: token);
        Assert.That(Text(response.Output), Is.EqualTo("7\n"));
        Assert.That(log.Lines, Has.Exactly(1).Match("^Debug: .*left to crun: xfn-spark does not know 'linux.sysctl'"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_ordinary_bundle_is_left_to_nobody(CancellationToken token)
    {
        var log = new LogCollector();
        await RunShellAsync("true", configure: o => (o.Runtime, o.Logger) = (null, log), token: token);
        Assert.That(log.Lines, Has.None.Contains("left to"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Without_crun_an_ordinary_bundle_runs(CancellationToken token)
    {
        HostResult result = await RunWithoutCrunAsync("", token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, "ran\n")), result.Error);
    }

    [Test, CancelAfter(60_000)]
    public async Task Without_crun_what_only_a_runtime_knows_is_told_with_the_remedy(CancellationToken token)
    {
        HostResult result = await RunWithoutCrunAsync("""{"defaultAction":"SCMP_ACT_ALLOW"}""", token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((125, "")), result.Error);
        Assert.That(result.Error, Does.Contain("xfn-spark does not know a seccomp profile that is not compiled").And.Contain("apt-get install crun").And.Not.Contain("WithRuntime"));
    }

    private static void AddSysctl(JsonObject config) => config["linux"]!["sysctl"] = new JsonObject { ["net.ipv4.ip_unprivileged_port_start"] = "7" };

    /// <summary>Runs a function where there is no crun that could be executed.</summary>
    private Task<HostResult> RunWithoutCrunAsync(string seccompProfile, CancellationToken token)
    {
        string[] variables = seccompProfile.Length > 0 ? [$"XFN_TEST_SECCOMP={seccompProfile}"] : [];
        return HostProcess.RunUnderAsync(
            "mount --make-rprivate / && mount --bind /dev/null /usr/bin/crun",
            ["env", "-u", "XFN_TEST_RUNTIME", .. variables, Environment.ProcessPath!, "run", "--cache-dir", Cache, Write(TestImage.Shell("echo ran")), "/dev/null"],
            token);
    }

    private string WriteRuntime(string script)
    {
        // Its name has crun's, so that it is given what crun understands.
        string path = Path.Combine(_directory, "crun");
        File.WriteAllText(path, $"#!/bin/sh\n{script}\n");
        File.SetUnixFileMode(path, (UnixFileMode)0b111_101_101);
        return path;
    }

    /// <summary>The ordinary bundles, with something added.</summary>
    private sealed class Changed(Action<JsonObject> change) : IBundleBuilder
    {
        private readonly RuntimeBundleBuilder _ordinary = new(new BundleOptions { SeccompForm = SeccompForm.Compiled });

        public Bundle Build(BundleContext context)
        {
            Bundle bundle = _ordinary.Build(context);
            JsonObject config = JsonNode.Parse(bundle.RuntimeConfig.Span)!.AsObject();
            change(config);
            return bundle with { RuntimeConfig = Encoding.UTF8.GetBytes(config.ToJsonString()) };
        }
    }
}
