using System.Text.Json;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Containers that live. Only xfn-spark makes them: with another runtime there is nothing to see.</summary>
internal abstract class ContainerFixture : RunnerFixture
{
    protected const string Python = "/usr/bin/python3";

    private TestRunner? _runner;

    protected TestRunner Runner => _runner ??= NewRunner();

    [SetUp]
    public void SkipOtherRuntimes()
    {
        _runner = null;
        if (Ways.Runtime is not null)
            Assert.Ignore("Only xfn-spark makes containers that live; ContainerRefusalTests has what a runner with a runtime says.");
    }

    /// <summary>Starts a shell script.</summary>
    protected Task<RunningContainer> StartAsync(string script, Ready ready, CancellationToken token) =>
        StartAsync(new ContainerRequest { Image = Write(TestImage.Shell(script), $"{Guid.NewGuid():N}"), Ready = ready }, token);

    protected Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken token) => Runner.StartAsync(request, token);

    /// <summary>An image with busybox's web server, a page, and a health check.</summary>
    protected string WebImage()
    {
        TestImage image = TestImage.Command("/bin/httpd", "-f", "-p", "80", "-h", "/www").With("httpd", "test", "wget").WithLayer(tar => tar.Directory("www").File("www/index.html", "hello"));
        image.Config = image.Config with { Healthcheck = JsonSerializer.SerializeToElement(new { Test = (string[])["CMD-SHELL", "test -f /www/index.html"] }) };
        return Write(image, "web");
    }

    protected Task<RunningContainer> StartWebAsync(CancellationToken token) => StartAsync(new ContainerRequest { Image = WebImage(), Ready = Ready.Listens(80) }, token);

    /// <summary>A shell that has this machine's Python, for a runner that mounts <see cref="PythonOfThisMachine"/>.</summary>
    protected static TestImage PythonShell(string script)
    {
        if (!File.Exists(Python))
            Assert.Ignore($"There is no {Python}.");
        TestImage image = TestImage.Shell(script).WithLayer(tar => tar.Link("lib", "usr/lib").Link("lib64", "usr/lib64")

            // Where arm64's loader is said to be: beside the directories that are mounted.
            .Directory("usr/lib").Link("usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu/ld-linux-aarch64.so.1"));
        image.Config = image.Config with { Env = ["PATH=/bin:/usr/bin"] };
        return image;
    }

    /// <summary>Shows containers what Python needs of /usr: in the whole of it something may be mounted.</summary>
    protected static void PythonOfThisMachine(ContainerRunnerOptions options)
    {
        string[] directories = ["/usr/bin", .. Directory.GetDirectories("/usr", "lib64"), .. Directory.GetDirectories("/usr/lib", "*-linux-gnu"), .. Directory.GetDirectories("/usr/lib", "python3*")];
        options.Bundle.ReadOnlyMounts = [.. directories.Select(directory => new ReadOnlyMount(directory, directory))];
    }

    /// <summary>All lines of a log.</summary>
    protected static async Task<List<LogLine>> LinesAsync(RunningContainer container, CancellationToken token)
    {
        var lines = new List<LogLine>();
        await foreach (LogLine line in container.ReadLogsAsync(cancellationToken: token))
            lines.Add(line);
        return lines;
    }
}
