using System.Text.Json;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Containers that live. Only xfn-spark makes them: with another runtime there is nothing to see.</summary>
internal abstract class ContainerFixture : RunnerFixture
{
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

    /// <summary>All lines of a log.</summary>
    protected static async Task<List<LogLine>> LinesAsync(RunningContainer container, CancellationToken token)
    {
        var lines = new List<LogLine>();
        await foreach (LogLine line in container.ReadLogsAsync(cancellationToken: token))
            lines.Add(line);
        return lines;
    }
}
