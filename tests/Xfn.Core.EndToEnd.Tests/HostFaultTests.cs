using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Registry;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What goes wrong once in a host does not stay wrong. What a request leaves out is the default.</summary>
internal sealed class HostFaultTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_runner_that_could_not_provide_spark_at_its_first_run_does_at_the_next(CancellationToken token)
    {
        string spark = Path.Combine(Scratch, "xfn-spark");
        TestRunner runner = NewRunner(o => o.SparkPath = spark);
        string image = Write(TestImage.Shell("echo ran"));
        await Assert.ThatAsync(() => RunAsync(runner, image, token), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains(spark));
        // By another program: what this one writes is busy while it forks.
        Tool.Run("cp", FindSpark(), spark);
        Assert.That(await RunAsync(runner, image, token), Is.EqualTo("ran\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runtime_that_is_installed_later_is_found(CancellationToken token)
    {
        Ways.SkipPrepared("only xfn-spark prepares containers");
        // crun by another name is known by what it says. Container roots may be unable to enter the test's directory.
        string directory = $"/tmp/xfn-runtime-{Guid.NewGuid():N}", runtime = Path.Combine(directory, "runtime");
        Directory.CreateDirectory(directory);
        try
        {
            File.SetUnixFileMode(directory, (UnixFileMode)0b111_101_101);
            TestRunner runner = NewRunner(o => o.WithRuntime(runtime));
            string image = Write(TestImage.Shell("echo ran"));
            await Assert.ThatAsync(() => RunAsync(runner, image, token), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("cannot find OCI runtime"));
            Tool.Run("install", "-m", "755", "/usr/bin/crun", runtime);
            Assert.That(await RunAsync(runner, image, token), Is.EqualTo("ran\n"));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_null_in_a_request_is_the_default(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Shell("echo ran"));
        RunFunctionRequest[] requests =
        [
            new() { Image = image, RunFunctionConfig = null!, ImagePullConfig = null! },
            new() { Image = image, RunFunctionConfig = new() { Limits = null! } },
        ];
        foreach (RunFunctionRequest request in requests)
            Assert.That(Text((await runner.RunFunctionAsync(request, token)).Output), Is.EqualTo("ran\n"));
        await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = null!, Stdout = null!, Stderr = null! }, token);
    }

    [Test]
    public void What_is_null_in_options_is_named()
    {
        Assert.That(() => NewRunner(o => o.Registry = null!), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("Registry"));
        Assert.That(() => NewRunner(o => o.Registry.Mirrors = null!), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("Mirrors"));
        Assert.That(() => NewRunner(o => o.Registry.InsecureRegistries = null!), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("InsecureRegistries"));
        Assert.That(() => new RegistryImageFetcher(new RegistryOptions { CertificateAuthorities = null! }), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("CertificateAuthorities"));
        Assert.That(() => new RemoteContainerRunner(new RemoteContainerRunnerOptions { Addresses = null! }), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("Addresses"));
        Assert.That(() => new RemoteContainerRunner(new RemoteContainerRunnerOptions { ClientCertificates = null! }), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("ClientCertificates"));
    }

    [Test]
    public void A_runner_that_could_not_be_made_leaves_nothing_open()
    {
        Assert.That(() => NewRunner(o => o.TimeProvider = new BrokenTime()), Throws.InstanceOf<NotSupportedException>());
        Assert.That(Directory.GetFiles(Path.Combine(Cache, "sessions")), Is.Empty);
        Assert.That(Directory.GetFiles("/proc/self/fd").Select(d => new FileInfo(d).LinkTarget), Has.None.StartsWith(Cache));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runner_whose_cache_cannot_be_written_any_more_is_disposed_all_the_same(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        await RunAsync(runner, Write(TestImage.Shell("echo ran")), token);

        // In the way of root too: a directory is not removed as a file is.
        string session = Directory.GetFiles(Path.Combine(Cache, "sessions")).Single();
        File.Delete(session);
        Directory.CreateDirectory(session);
        await Assert.ThatAsync(() => runner.DisposeAsync().AsTask(), Throws.Nothing);
        await Assert.ThatAsync(() => RunAsync(runner, Write(TestImage.Shell("echo ran")), token), Throws.InstanceOf<ObjectDisposedException>());
        Directory.Delete(session);
    }

    /// <summary>Two processes that were told to lock no files: what one sweeps is not the other's.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_runner_that_was_told_to_lock_no_files_does_not_kill_anothers_runs(CancellationToken token)
    {
        string slow = Write(TestImage.Shell("echo started; read line; echo \"$line\""), "slow"), quick = Write(TestImage.Shell("echo ran"), "quick");
        const string unlocked = "export DOTNET_SYSTEM_IO_DISABLEFILELOCKING=1; exec \"$0\" \"$@\"";
        using System.Diagnostics.Process first = Tool.Start("sh", ["-c", unlocked, HostProcess.Xfn, "run", "--cache-dir", Cache, slow, "-"]);
        try
        {
            Assert.That(await first.StandardOutput.ReadLineAsync(token), Is.EqualTo("started"), "did the function start?");
            ToolResult second = await Tool.RunAsync("sh", ["-c", unlocked, HostProcess.Xfn, "run", "--cache-dir", Cache, quick, "/dev/null"], token);
            Assert.That(second.Output, Is.EqualTo("ran\n"), second.Error);
            await first.StandardInput.WriteLineAsync("alive".AsMemory(), token);
            first.StandardInput.Close();
            Assert.That(await first.StandardOutput.ReadLineAsync(token), Is.EqualTo("alive"), "was the function killed?");
            await first.WaitForExitAsync(token);
        }
        finally
        {
            if (!first.HasExited)
                first.Kill(entireProcessTree: true);
        }
    }

    private static async Task<string> RunAsync(TestRunner runner, string image, CancellationToken token) =>
        Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, token)).Output);

    private static string FindSpark() => Directory.GetFiles(AppContext.BaseDirectory, "xfn-spark", SearchOption.AllDirectories).First();

    private sealed class BrokenTime : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => throw new NotSupportedException();
    }
}
