using System.Text;
using DebianImages;
using NUnit.Framework;
using Xfn.Core;
using Xfn.Core.Testing;

namespace Services;

/// <summary>Two containers that know each other by name: a web program, and the redis in which it counts.</summary>
[CancelAfter(60_000)]
public class LinkedContainersTests
{
    private const string CountVisit = """
        #!/bin/sh
        # Answers a request (CGI): counts it in the other container.
        number=$(printf 'INCR visits\r\nQUIT\r\n' | nc cache 6379 | head -n 1 | tr -d ':\r')
        printf 'Content-Type: text/plain\r\n\r\nvisit %s' "$number"
        """;

    private readonly ContainerFixture _containers = new();

    [OneTimeSetUp]
    public async Task AddImages()
    {
        Requires.Containers();
        _containers.Images.AddRedis("redis");
        await _containers.AddImageAsync("visits", image => image
            .From(ContainerFixture.Busybox)
            .AddFile(new LayerFile("www/cgi-bin/visits") { Content = Encoding.UTF8.GetBytes(CountVisit) })
            .WithEntrypoint("httpd", "-f", "-p", "80", "-h", "/www"));
    }

    [OneTimeTearDown]
    public async Task DisposeContainers() => await _containers.DisposeAsync();

    [TearDown]
    public async Task ShowLogs() => await _containers.ShowLogsOnFailureAsync();

    [Test]
    public async Task A_program_reaches_another_container_by_its_name(CancellationToken token)
    {
        await using RunningContainer cache = await _containers.StartAsync(
            new ContainerRequest { Image = "redis", Ready = Ready.Listens(6379) }, token);
        await using RunningContainer web = await _containers.StartAsync(
            new ContainerRequest { Image = "visits", Ready = Ready.Listens(80) }, token);
        await web.LinkAsync("cache", 6379, cache, cancellationToken: token);

        using HttpClient client = web.CreateHttpClient(80);
        Assert.That(await client.GetStringAsync("/cgi-bin/visits", token), Is.EqualTo("visit 1"));
        Assert.That(await client.GetStringAsync("/cgi-bin/visits", token), Is.EqualTo("visit 2"));

        ExecResult stored = await cache.ExecAsync(["redis-cli", "GET", "visits"], cancellationToken: token);
        Assert.That(stored.Stdout, Is.EqualTo("2\n"));
    }
}
