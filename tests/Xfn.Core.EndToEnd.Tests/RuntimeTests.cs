using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>OCI runtimes that do not behave.</summary>
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
    public async Task A_runtime_that_fails_is_told_as_such(string script, string found) =>
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.WithRuntime(WriteRuntime(script))),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains(found).And.Property(nameof(XfnException.Stage)).EqualTo(RunStage.Start));

    [Test, CancelAfter(60_000)]
    public async Task Warnings_of_a_runtime_do_not_keep_a_function_from_answering()
    {
        RunFunctionResponse response = await RunShellAsync("cat; echo mine >&2", "in", o => o.WithRuntime(WriteRuntime("echo 'a warning' >&2; exec /usr/bin/crun \"$@\"")));
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

    private string WriteRuntime(string script)
    {
        // Its name has crun's, so that it is given what crun understands.
        string path = Path.Combine(_directory, "crun");
        File.WriteAllText(path, $"#!/bin/sh\n{script}\n");
        File.SetUnixFileMode(path, (UnixFileMode)0b111_101_101);
        return path;
    }
}
