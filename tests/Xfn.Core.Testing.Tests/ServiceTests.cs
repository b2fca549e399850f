using System.Text;
using NUnit.Framework.Interfaces;

namespace Xfn.Core.Testing.Tests;

/// <summary>Containers that a fixture starts, their logs, and what is left of them.</summary>
[CancelAfter(120_000)]
public class ServiceTests
{
    [Test]
    public async Task Services_are_ready_linked_and_gone_with_their_fixture(CancellationToken token)
    {
        var containers = new ContainerFixture();
        RunningContainer pages, visitor;
        await using (containers)
        {
            await containers.AddImageAsync(
                "pages",
                image => image.From(ContainerFixture.Busybox).AddFile(new LayerFile("www/index.html") { Content = "hello"u8.ToArray() }).WithEntrypoint("httpd", "-f", "-p", "80", "-h", "/www"),
                token);
            pages = await containers.StartAsync(new ContainerRequest { Image = "pages", Ready = Ready.HttpOk(80) }, token);
            visitor = await containers.StartAsync(new ContainerRequest { Image = ContainerFixture.Busybox, Arguments = ["sleep", "1000"] }, token);
            await visitor.LinkAsync("pages", 8080, pages, 80, token);
            ExecResult page = await visitor.ExecAsync(["wget", "-qO-", "http://pages:8080/index.html"], cancellationToken: token);
            Assert.That(page.ShouldSucceed().Stdout, Is.EqualTo("hello"));

            ExecResult missing = await visitor.ExecAsync(["sh", "-c", "echo who >&2; exit 4"], cancellationToken: token);
            Assert.That(
                Assert.Throws<UnexpectedResultException>(() => missing.ShouldSucceed()).Message,
                Is.EqualTo("expected exit status 0: the program exited with status 4\nstdout: nothing\nstderr: 4 bytes\n    who"));
        }

        Assert.That(pages.Exited.IsCompleted && visitor.Exited.IsCompleted, Is.True);
        Assert.Throws<ObjectDisposedException>(() => _ = containers.Runner);
    }

    [Test]
    public void The_logs_of_services_are_shown_where_a_test_failed()
    {
        ITestResult result = NestedTests.Run(typeof(FailingTests));
        Assert.That((result.PassCount, result.FailCount), Is.EqualTo((1, 1)), result.Message);
        ITestResult passed = Named(result, nameof(FailingTests.Passes)), failed = Named(result, nameof(FailingTests.Says_what_went_wrong_and_fails));
        Assert.That(passed.Output, Is.Empty);
        Assert.That(failed.Output, Does.Contain("Logs of 'localhost/busybox':").And.Match("[0-9:.]{12} err went wrong in 2\n").And.Not.Contain("went wrong in 1"));
    }

    [Test]
    public void Nothing_is_left_where_a_set_up_failed()
    {
        ITestResult result = NestedTests.Run(typeof(BrokenSetUpTests));
        Assert.That(result.FailCount, Is.EqualTo(1), result.Message);
        Assert.That(Named(result, nameof(BrokenSetUpTests.Is_never_run)).Message, Does.Contain("no such program in the set-up"));
        Assert.That(BrokenSetUpTests.Started!.Exited.IsCompleted, Is.True);
        Assert.That(Directory.Exists(BrokenSetUpTests.Cache), Is.True);
        Assert.That(Directory.GetFileSystemEntries(BrokenSetUpTests.Cache), Is.Empty, "its cache is left");
        Directory.Delete(BrokenSetUpTests.Cache);
    }

    private static ITestResult Named(ITestResult result, string name) =>
        result.HasChildren ? result.Children.Select(child => Named(child, name)).FirstOrDefault(found => found is not null)! : result.Name == name ? result : null!;
}

/// <summary>Tests that fail, for those who look at what they print.</summary>
[Explicit("ServiceTests runs them: they fail"), CancelAfter(120_000)]
public class FailingTests
{
    private readonly ContainerFixture _containers = new();
    private RunningContainer _service = null!;

    [OneTimeSetUp]
    public async Task StartService() => _service = await _containers.StartAsync(new ContainerRequest
    {
        Image = ContainerFixture.Busybox,
        Arguments = ["sh", "-c", "while read number; do echo went wrong in $number >&2; done"],
        Stdio = ContainerStdio.Piped,
    });

    [OneTimeTearDown]
    public async Task DisposeContainers() => await _containers.DisposeAsync();

    [TearDown]
    public async Task ShowLogs() => await _containers.ShowLogsOnFailureAsync();

    [Test]
    public async Task Passes(CancellationToken token) => await SayAsync("1", token);

    [Test]
    public async Task Says_what_went_wrong_and_fails(CancellationToken token)
    {
        await SayAsync("2", token);
        Assert.Fail("as it should");
    }

    private async Task SayAsync(string number, CancellationToken token)
    {
        await _service.Stdin.WriteAsync(Encoding.UTF8.GetBytes(number + "\n"), token);
        await foreach (LogLine line in _service.ReadLogsAsync(follow: true, token))
        {
            if (line.Text == $"went wrong in {number}")
                return;
        }
    }
}

/// <summary>A set-up that fails, for those who look at what is left of it.</summary>
[Explicit("ServiceTests runs it: it fails"), CancelAfter(120_000)]
public class BrokenSetUpTests
{
    private readonly ContainerFixture _containers = new(options => options.WithEphemeralCache(Cache));

    public static string Cache { get; } = Directory.CreateTempSubdirectory(TemporaryDirectory.Prefix).FullName;

    public static RunningContainer? Started { get; private set; }

    [OneTimeSetUp]
    public async Task FailAfterAStart()
    {
        Started = await _containers.StartAsync(new ContainerRequest { Image = ContainerFixture.Busybox, Arguments = ["sleep", "1000"] });
        throw new InvalidOperationException("no such program in the set-up");
    }

    [OneTimeTearDown]
    public async Task DisposeContainers() => await _containers.DisposeAsync();

    [Test]
    public void Is_never_run() => Assert.Pass();
}
