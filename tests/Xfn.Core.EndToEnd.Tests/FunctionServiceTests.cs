using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Functions that are servers, in real containers.</summary>
internal sealed class FunctionServiceTests : ContainerFixture
{
    [Test, CancelAfter(90_000)]
    public async Task A_server_that_crashes_in_a_call_says_so_and_is_started_again(CancellationToken token)
    {
        await using var service = new FunctionService(Runner, new ContainerRequest { Image = ServerImage(), Ready = Ready.Listens(80) });
        Assert.That(service.InstanceCount, Is.Zero);
        using HttpClient client = service.CreateHttpClient(80);
        string first = await client.GetStringAsync("/cgi-bin/id", token);

        var failed = (await Assert.ThrowsAsync<HttpRequestException>(() => client.GetStringAsync("/cgi-bin/crash", token)))!;
        var lost = failed.InnerException as ContainerEndedException;
        Assert.That((lost?.Exit.ExitCode, lost?.WasReady), Is.EqualTo(((int?)5, (bool?)true)), failed.ToString());
        Assert.That(lost!.LogTail, Does.EndWith("the server died\n"));

        string second = await client.GetStringAsync("/cgi-bin/id", token);
        Assert.That((second.Length, service.InstanceCount), Is.EqualTo((first.Length, 1)));
        Assert.That(second, Is.Not.EqualTo(first));
    }

    [Test, CancelAfter(90_000)]
    public async Task Calls_are_shared_among_servers_and_those_that_nobody_calls_are_stopped(CancellationToken token)
    {
        await using var service = new FunctionService(
            Runner,
            new ContainerRequest { Image = ServerImage(), Ready = Ready.Listens(80), StopGrace = TimeSpan.Zero },
            o => (o.MaxInstances, o.MaxConcurrency, o.IdleTime) = (2, 1, TimeSpan.FromSeconds(1)));
        using HttpClient client = service.CreateHttpClient(80);

        // A call that has one sends others to the other.
        var containers = new List<RunningContainer>();
        string[] ids = await service.CallAsync(
            async (container, _) =>
            {
                containers.Add(container);
                string other = await client.GetStringAsync("/cgi-bin/id", token);
                string same = (await container.ExecAsync(["cat", "/tmp/id"], cancellationToken: token)).Stdout;
                return new[] { other, same };
            },
            token);
        Assert.That(ids, Is.Unique);

        string[] answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => client.GetStringAsync("/cgi-bin/id", token)));
        Assert.That(answers, Has.All.Length.GreaterThan(30));
        Assert.That(service.InstanceCount, Is.LessThanOrEqualTo(2));
        while (service.InstanceCount > 0)
            await Task.Delay(20, token);
        Assert.That((await containers[0].Exited.WaitAsync(token)).EndedBy, Is.EqualTo(ContainerEnd.Disposal));
    }

    [Test, CancelAfter(90_000)]
    public async Task A_server_that_cannot_start_fails_its_call_with_its_last_words(CancellationToken token)
    {
        await using var service = new FunctionService(Runner, new ContainerRequest { Image = Write(TestImage.Shell("echo 'no database' >&2; exit 4")), Ready = Ready.Listens(80) });
        using HttpClient client = service.CreateHttpClient(80);
        var failed = (await Assert.ThrowsAsync<HttpRequestException>(() => client.GetStringAsync("/", token)))!;
        var ended = failed.InnerException as ContainerEndedException;
        Assert.That((ended?.Exit.ExitCode, ended?.WasReady, ended?.LogTail), Is.EqualTo(((int?)4, (bool?)false, "no database\n")), failed.ToString());
    }

    /// <summary>A web server with an id of its own, and a page that ends it.</summary>
    private string ServerImage() => Write(
        TestImage.Shell("cat /proc/sys/kernel/random/uuid > /tmp/id; httpd -f -p 80 -h /www; echo 'the server died' >&2; exit 5")
            .With("httpd", "killall")
            .WithLayer(tar => tar.Directory("www").Directory("www/cgi-bin")
                .File("www/cgi-bin/id", Cgi("cat /tmp/id"), Executable)
                .File("www/cgi-bin/crash", "#!/bin/sh\nkillall -9 httpd\n", Executable)),
        "server");

    private const UnixFileMode Executable = (UnixFileMode)0b111_101_101;

    private static string Cgi(string command) => $"#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n{command}\n";
}
