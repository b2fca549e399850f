using System.Diagnostics;

namespace Xfn.Core.Samples.Tests;

/// <summary><c>xfn run --server</c>, as a process.</summary>
[CancelAfter(120_000)]
internal sealed class RunOnServerTests
{
    private readonly BusyboxImage _images = new();
    private ContainerRunner _runner = null!;
    private ContainerRunnerServer _server = null!;

    [OneTimeSetUp]
    public async Task Serve()
    {
        _runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(_images.Directory, "cache")));
        _server = await ContainerRunnerServer.StartAsync(_runner, "unix", Path.Combine(_images.Directory, "xfn.sock"), new ContainerRunnerServerOptions { AllowLocalImages = true });
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        await _server.DisposeAsync();
        await _runner.DisposeAsync();
        _images.Dispose();
    }

    [Test]
    public async Task Stdin_stdout_and_stderr_are_the_functions() =>
        Assert.That(await RunAsync("from stdin", _images.Write("cat; echo to stderr >&2"), "-"), Is.EqualTo((0, "from stdin", "to stderr\n")));

    [Test]
    public async Task The_functions_exit_status_and_output_are_xfns()
    {
        (int status, string output, string error) = await RunAsync("", _images.Write("echo half; exit 3"), "-");
        Assert.That((status, output), Is.EqualTo((3, "half\n")));
        Assert.That(error, Does.StartWith("xfn: error: ").And.Contain("exited with status 3"));
    }

    [Test]
    public async Task A_server_that_is_not_there_is_told_in_one_line()
    {
        (int status, string _, string error) = await RunAsync("", "image", "-", "--server", $"unix:{_images.Directory}/none.sock");
        Assert.That(status, Is.EqualTo(125));
        Assert.That(error, Does.Match(@"\Axfn: error: cannot reach server '[^\n]*none\.sock'[^\n]*\n\z"));
    }

    [TestCase("--cache-dir", "/tmp/x")]
    [TestCase("--map-root-uid", "5")]
    [TestCase("--outer-proc", "true")]
    public async Task What_is_the_servers_own_matter_is_refused(string option, string value)
    {
        (int status, string _, string error) = await RunAsync("", "image", "-", option, value);
        Assert.That((status, error), Is.EqualTo((125, $"xfn: error: cannot use {option} with --server: it is the server's own matter.\n")));
    }

    [Test]
    public async Task The_registry_of_the_command_line_is_that_of_the_image()
    {
        (int status, string _, string error) = await RunAsync("", "function", "-", "--registry", "127.0.0.1:1", "--image-pull-policy=Never");
        Assert.That(status, Is.EqualTo(125));
        Assert.That(error, Does.Contain("'127.0.0.1:1/function"));
    }

    private async Task<(int Status, string Output, string Error)> RunAsync(string input, params string[] arguments)
    {
        CancellationToken token = TestContext.CurrentContext.CancellationToken;
        string[] server = arguments.Contains("--server") ? [] : ["--server", "unix:" + _server.Address];
        using Process xfn = Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "xfn"), ["run", .. server, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        await xfn.StandardInput.WriteAsync(input);
        xfn.StandardInput.Close();
        Task<string> error = xfn.StandardError.ReadToEndAsync(token);
        string output = await xfn.StandardOutput.ReadToEndAsync(token);
        await xfn.WaitForExitAsync(token);
        return (xfn.ExitCode, output, await error);
    }
}
