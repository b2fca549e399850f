namespace Xfn.Core.Samples.Tests;

/// <summary>The sample PythonClient, with Debian's grpcio, against a server on an abstract socket.</summary>
[CancelAfter(120_000)]
internal sealed class PythonClientTests
{
    [Test]
    public async Task A_program_in_Python_has_functions_run(CancellationToken token)
    {
        using var images = new BusyboxImage();
        await using var runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(images.Directory, "cache")));
        string name = $"xfn-test/{Guid.NewGuid():N}.sock";
        await using ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(
            runner, "unix", "@" + name, new ContainerRunnerServerOptions { AllowLocalImages = true }, token);

        string sample = Path.Combine(AppContext.BaseDirectory, "PythonClient");
        string stubs = Directory.CreateDirectory(Path.Combine(images.Directory, "stubs")).FullName;
        Assert.That(await Tool.RunAsync("protoc", [$"--proto_path={sample}", $"--python_out={stubs}", "run_function.proto"], token), Is.EqualTo(new ToolResult(0, "", "")));

        string client = Path.Combine(sample, "run_function.py");
        var path = new Dictionary<string, string> { ["PYTHONPATH"] = stubs };
        Assert.That(
            await Tool.RunAsync("/usr/bin/python3", [client, "unix-abstract:" + name, images.Write("tr a-z A-Z")], token, "hello", path),
            Is.EqualTo(new ToolResult(0, "HELLO", "")));
        (int status, string output, string error) = await Tool.RunAsync("/usr/bin/python3", [client, "unix-abstract:" + name, images.Write("echo broken >&2; exit 3")], token, environment: path);
        Assert.That((status, output), Is.EqualTo((3, "")));
        Assert.That(error, Does.StartWith("ABORTED: ").And.EndWith("broken\n"));
    }
}
