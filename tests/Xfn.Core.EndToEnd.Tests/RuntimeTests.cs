using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>OCI runtimes that do not behave, and who makes a container.</summary>
[NonParallelizable]
internal sealed class RuntimeTests : RunnerFixture
{
    private string _directory = "";

    /// <summary>Where every mapped root can reach it; the usual temporary directory may be a user's own.</summary>
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
    [TestCase("while [ $# -gt 1 ]; do [ $1 = --log ] && echo '{\"msg\":\"sethostname: Operation not permitted\",\"level\":\"error\"}' >$2; shift; done; exit 1", "a seccomp filter of an outer container forbids sethostname")]
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
    public async Task What_only_a_runtime_knows_is_run_by_the_one_that_is_named(CancellationToken token)
    {
        Task<RunFunctionResponse> RunAsync(string? runtime) =>
            RunShellAsync("busybox grep -c ' /data ramfs ' /proc/mounts", configure: o => (o.Runtime, o.BundleBuilder) = (runtime, new WithRamfs()), token: token);

        Assert.That(Text((await RunAsync("crun")).Output), Is.EqualTo("1\n"));
        var error = (await Assert.ThrowsAsync<ContainerEnvironmentException>(() => RunAsync(null)))!;
        Assert.That(error.Message, Does.Contain("xfn-spark does not know mounts of the type 'ramfs'").And.Contain("(option Runtime)"));
        Assert.That(error.Stage, Is.EqualTo(RunStage.Bundle));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_seccomp_profile_is_compiled_by_the_runtime_that_is_named(CancellationToken token)
    {
        byte[] profile = """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"""u8.ToArray();
        RunFunctionResponse response = await RunShellAsync(
            "busybox mkdir /tmp/d 2>/dev/null || echo refused", configure: o => o.WithRuntime("crun").Bundle = new() { SeccompProfile = profile }, token: token);
        Assert.That(Text(response.Output), Is.EqualTo("refused\n"));
    }

    [Test]
    public void Without_a_runtime_a_seccomp_profile_that_is_not_compiled_is_refused_when_the_runner_is_made() =>
        Assert.That(
            () => NewRunner(o => o.WithRuntime(null).Bundle = new() { SeccompProfile = """{"defaultAction":"SCMP_ACT_ALLOW"}"""u8.ToArray() }),
            Throws.ArgumentException.With.Message.Contains("SeccompProfile").And.Message.Contains("(option Bundle:SeccompFilter)").And.Message.Contains("(option Runtime)"));

    [Test, CancelAfter(60_000)]
    public async Task With_a_runtime_nothing_is_prepared(CancellationToken token) =>
        await Assert.ThatAsync(
            () => NewRunner(o => o.WithRuntime("crun")).PrepareAsync(new RunFunctionRequest { Image = Write(TestImage.Shell("true")) }, cancellationToken: token),
            Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("'crun'").And.Message.Contains("(option Runtime)"));

    /// <summary>Runs a function where there is no crun that could be executed.</summary>
    [Test, CancelAfter(60_000)]
    public async Task Without_crun_functions_run(CancellationToken token)
    {
        ToolResult result = await HostProcess.RunUnderAsync(
            "mount --make-rprivate / && mount --bind /dev/null /usr/bin/crun",
            ["env", "-u", "XFN_TEST_RUNTIME", Environment.ProcessPath!, "run", "--cache-dir", Cache, Write(TestImage.Shell("echo ran")), "/dev/null"],
            token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, "ran\n")), result.Error);
    }

    private string WriteRuntime(string script)
    {
        // Its name has crun's, so that it is given what crun understands.
        string path = Path.Combine(_directory, "crun");
        File.WriteAllText(path, $"#!/bin/sh\n{script}\n");
        File.SetUnixFileMode(path, (UnixFileMode)0b111_101_101);
        return path;
    }

    /// <summary>The default, with a mount that xfn-spark does not know.</summary>
    private sealed class WithRamfs : IBundleBuilder
    {
        private readonly RuntimeBundleBuilder _ordinary = new();

        public ContainerSpecification Build(BundleContext context)
        {
            ContainerSpecification container = _ordinary.Build(context);
            container.Mounts.Add(new ContainerMount { Destination = "/data", Type = "ramfs", Source = "ramfs", Options = { "nosuid", "nodev" } });
            return container;
        }
    }
}
