using System.Diagnostics;

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
        Assert.That(await RunAsync("protoc", [$"--proto_path={sample}", $"--python_out={stubs}", "run_function.proto"]), Is.EqualTo((0, "", "")));

        string client = Path.Combine(sample, "run_function.py");
        Assert.That(
            await RunAsync("/usr/bin/python3", [client, "unix-abstract:" + name, images.Write("tr a-z A-Z")], "hello", stubs),
            Is.EqualTo((0, "HELLO", "")));
        (int status, string output, string error) = await RunAsync("/usr/bin/python3", [client, "unix-abstract:" + name, images.Write("echo broken >&2; exit 3")], "", stubs);
        Assert.That((status, output), Is.EqualTo((3, "")));
        Assert.That(error, Does.StartWith("ABORTED: ").And.EndWith("broken\n"));

        async Task<(int Status, string Output, string Error)> RunAsync(string program, string[] arguments, string input = "", string path = "")
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments)
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                Environment = { ["PYTHONPATH"] = path },
            })!;
            await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
            Task<string> said = process.StandardError.ReadToEndAsync(token);
            string wrote = await process.StandardOutput.ReadToEndAsync(token);
            await process.WaitForExitAsync(token);
            return (process.ExitCode, wrote, await said);
        }
    }
}
