using System.Net;
using DebianImages;
using NUnit.Framework;
using Xfn.Core;
using Xfn.Core.Testing;

namespace Services;

/// <summary>Tests of a web site as nginx serves it.</summary>
[CancelAfter(60_000)]
public class WebPageTests
{
    private readonly ContainerFixture _containers = new();
    private RunningContainer _nginx = null!;

    [OneTimeSetUp]
    public async Task StartNginx()
    {
        Requires.Containers();
        _containers.Images.AddNginx("nginx");
        _nginx = await _containers.StartAsync(new ContainerRequest
        {
            Image = "nginx",
            Mounts = { Mount.File("/usr/share/nginx/html/index.html", await File.ReadAllBytesAsync(Path.Combine(AppContext.BaseDirectory, "index.html"))) },

            // A port below 1024 takes no root, and no port of this machine.
            Ready = Ready.Listens(80),
        });
    }

    [OneTimeTearDown]
    public async Task StopNginx() => await _containers.DisposeAsync();

    [Test]
    public async Task It_serves_the_page(CancellationToken token)
    {
        using HttpClient client = _nginx.CreateHttpClient(80);
        Assert.That(await client.GetStringAsync("/", token), Does.Contain("<h1>Hello from a container</h1>"));
        using HttpResponseMessage missing = await client.GetAsync("/missing", token);
        Assert.That(missing.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
    }

    [Test]
    public async Task Its_log_has_what_was_asked(CancellationToken token)
    {
        using HttpClient client = _nginx.CreateHttpClient(80);
        await client.GetStringAsync("/?from=the-log", token);
        await foreach (LogLine line in _nginx.ReadLogsAsync(follow: true, token))
        {
            if (line.Text.Contains("GET /?from=the-log", StringComparison.Ordinal))
                return;
        }

        Assert.Fail("The log ended without it.");
    }
}
