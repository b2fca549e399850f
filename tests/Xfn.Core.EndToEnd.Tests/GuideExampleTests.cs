using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Examples of docs/settings.md, docs/prepared-functions.md, docs/packaging.md, docs/registries.md and
/// docs/windows-and-macos.md, line by line: DocumentTests compares them.</summary>
[SuppressMessage("Reliability", "CA2016:Forward the CancellationToken parameter to methods", Justification = "The examples are as short as a reader would write them.")]
[Category(Ways.InOne)]
internal sealed class GuideExampleTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_prepared_function(CancellationToken token)
    {
        TestRunner runner = await NewRunnerAsync("registry.example.org/functions/resize:v2", token);
        byte[] image = "picture"u8.ToArray();

        await using PreparedFunction resize = await runner.PrepareAsync(
            new RunFunctionRequest { Image = "registry.example.org/functions/resize:v2" }, new PrepareOptions { Count = 4 });
        RunFunctionResponse small = await resize.RunAsync(image);

        Assert.That((Text(small.Output), small.Statistics.Prepared), Is.EqualTo(("picture", true)));
    }

    [Test, CancelAfter(60_000)]
    public async Task Options_of_a_run(CancellationToken token)
    {
        TestRunner runner = await NewRunnerAsync("registry.example.org/tools/convert:v3", token);
        byte[] configuration = [];

        // As it stands there, but for a directory that no machine has.
        Assert.That(
            async () => await ConvertAsync(),
            Throws.InstanceOf<XfnException>().With.Message.Contains("'/srv/reports'"));

        async Task<RunFunctionResponse> ConvertAsync()
        {
            RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest
            {
                Image = "registry.example.org/tools/convert:v3",
                Container = new ContainerSettings
                {
                    Arguments = ["--to", "pdf", "/in/report.md"],
                    Environment = { ["LANG"] = "C.UTF-8" },
                    User = "1000:1000",
                    Mounts =
                    {
                        Mount.Bind("/srv/reports", "/in"),                       // read-only
                        Mount.Tmpfs("/work", 256 << 20),                         // in memory, at most so large
                        Mount.File("/etc/convert.conf", configuration),          // from bytes
                        Mount.Volume("/scratch"),                                // on disk, removed with the container
                    },
                },
            });
            return response;
        }
    }

    [Test]
    public void One_runner_for_all_systems()
    {
        // Compiled, but not called: its cache would be this user's own.
        Func<IContainerRunner> choose = Choose;
        Assert.That(choose.Method.ReturnType, Is.EqualTo(typeof(IContainerRunner)));

        static IContainerRunner Choose()
        {
            IContainerRunner runner = OperatingSystem.IsLinux()
                ? new ContainerRunner()
                : new RemoteContainerRunner("http://localhost:5000");
            return runner;
        }
    }

    [Test]
    public void A_function_in_csharp()
    {
        // Compiled, but not called: standard input is the whole program's.
        Func<Task> function = AnswerAsync;
        Assert.That(function.Method.ReturnType, Is.EqualTo(typeof(Task)));
    }

    private static async Task AnswerAsync()
    {
        string input = await Console.In.ReadToEndAsync();
        Console.Write(input.ToUpperInvariant());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_registry_that_wants_fewer_requests(CancellationToken token)
    {
        string host = $"127.0.0.1:{DockerRegistry.FreePort()}";
        using var registry = new HttpListener();
        registry.Prefixes.Add($"http://{host}/");
        registry.Start();
        Task refusing = RefuseAsync();
        TestRunner runner = NewRunner(options => (options.Registry.MaxRetries, options.Runtime) = (0, null));
        bool isRecognized = false;
        try
        {
            await runner.RunFunctionAsync(new RunFunctionRequest { Image = $"{host}/fn:v1" }, token);
        }
        catch (XfnException e) when (e.InnerException is RegistryException { StatusCode: HttpStatusCode.TooManyRequests })
        {
            isRecognized = true;
        }

        Assert.That(isRecognized);
        registry.Abort();
        await refusing;

        async Task RefuseAsync()
        {
            try
            {
                while (true)
                {
                    HttpListenerResponse answer = (await registry.GetContextAsync()).Response;
                    answer.StatusCode = (int)HttpStatusCode.TooManyRequests;
                    answer.Close();
                }
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                // The test has seen what it wanted.
            }
        }
    }

    /// <summary>A runner with one image, in memory, whose function answers what it is given.</summary>
    private async Task<TestRunner> NewRunnerAsync(string image, CancellationToken token)
    {
        var images = new InMemoryImageFetcher();
        images.AddImage(image, new() { Entrypoint = ["/bin/busybox", "cat"] }, InMemoryImageFetcher.Layer(
            new LayerFile("bin/busybox") { Content = await File.ReadAllBytesAsync("/bin/busybox", token), Mode = (UnixFileMode)0b111_101_101 }));
        return NewRunner(options => (options.ImageFetcher, options.Runtime) = (images, null));
    }
}
