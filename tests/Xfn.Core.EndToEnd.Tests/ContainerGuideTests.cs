using System.Diagnostics.CodeAnalysis;
using System.Net;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>The examples of docs/containers.md, line by line: DocumentTests compares them.</summary>
[SuppressMessage("Reliability", "CA2016:Forward the CancellationToken parameter to methods", Justification = "The examples are as short as a reader would write them.")]
internal sealed class ContainerGuideTests : ContainerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Start_wait_stop(CancellationToken token)
    {
        TestRunner runner = Runner;
        string image = WebImage();

        await using RunningContainer web = await runner.StartAsync(new ContainerRequest
        {
            Image = image,
            Entrypoint = ["httpd", "-f", "-p", "8080", "-h", "/www"],
            Ready = Ready.Listens(8080),
        });

        await ReachAsync(web);
        await ExecuteAsync(web);
        await using RunningContainer app = await StartAsync(new ContainerRequest { Image = Write(TestImage.Command("sleep", "1000").With("wget"), "app") }, token);

        await app.LinkAsync("pages", 80, web, targetPort: 8080);

        Assert.That((await app.ExecAsync(["wget", "-q", "-O", "-", "http://pages/index.html"], cancellationToken: token)).Stdout, Is.EqualTo("hello"));

        ContainerExit exit = await web.StopAsync(grace: TimeSpan.FromSeconds(2));

        Assert.That(exit.EndedBy, Is.EqualTo(ContainerEnd.Stop));
    }

    [Test, CancelAfter(60_000)]
    public async Task Files_and_statistics(CancellationToken token)
    {
        string directory = Directory.CreateDirectory(Path.Combine(Scratch, "site")).FullName;
        await using RunningContainer web = await StartAsync(new ContainerRequest { Image = WebImage(), Ready = Ready.Listens(80), WritableRootBytes = 1 << 20 }, token);

        await web.CopyInAsync("/www/new/page.html", "new"u8.ToArray());
        await web.CopyInAsync(directory, "/www/site");
        byte[] copied = await web.ReadFileAsync("/www/new/page.html");
        await using Stream tar = await web.CopyOutAsync("/www");

        ContainerStatistics used = web.ReadStatistics();
        Console.WriteLine($"{used.CpuTime}, {used.MemoryBytes} of {used.MemoryLimitBytes} bytes, {used.Processes} processes");

        using HttpClient client = web.CreateHttpClient(80);
        Assert.That((Text(copied), await client.GetStringAsync("/new/page.html", token)), Is.EqualTo(("new", "new")));
    }

    [Test, CancelAfter(60_000)]
    public async Task End_and_logs(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("echo one; echo two >&2; exit 3", Ready.Started, token);

        ContainerExit end = await container.Exited;
        Console.WriteLine($"{container.Image} {end}, ended by {end.EndedBy}");

        await foreach (LogLine line in container.ReadLogsAsync(follow: true))
            Console.WriteLine($"{line.Time:T} {line.Source} {line.Text}");

        Assert.That($"{end}", Is.EqualTo("exited with status 3"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Stdin_and_stdout(CancellationToken token)
    {
        TestRunner runner = Runner;
        string image = Write(TestImage.Command());

        await using RunningContainer calculator = await runner.StartAsync(new ContainerRequest
        {
            Image = image,
            Arguments = ["cat"],
            Stdio = ContainerStdio.Piped,
        });
        await calculator.Stdin.WriteAsync("1 + 1\n"u8.ToArray());
        string? answer = await new StreamReader(calculator.Stdout).ReadLineAsync();

        Assert.That(answer, Is.EqualTo("1 + 1"));
        token.ThrowIfCancellationRequested();
    }

    [Test, CancelAfter(60_000)]
    public async Task The_way_out(CancellationToken token)
    {
        TestRunner runner = Runner;
        string image = Write(TestImage.Shell("exec sleep 1000"));

        await using RunningContainer agent = await runner.StartAsync(new ContainerRequest
        {
            Image = image,
            Egress = ["api.example.org:443", "*.packages.example.org:443", "127.0.0.1:5432"],
        });

        Assert.That((await agent.ExecAsync(["cat", "/etc/hosts"], cancellationToken: token)).Stdout, Does.Contain("127.1.0.1\tapi.example.org").Or.Contain("127.1.0.1 api.example.org"));
    }

    private static async Task ReachAsync(RunningContainer web)
    {
        await using Stream wire = await web.ConnectAsync(8080);
        using HttpClient client = web.CreateHttpClient(8080);
        string page = await client.GetStringAsync("/index.html");

        IPEndPoint endpoint = await web.ForwardAsync(8080);
        string same = await new HttpClient().GetStringAsync($"http://{endpoint}/index.html");

        Assert.That((page, same), Is.EqualTo(("hello", "hello")));
    }

    private static async Task ExecuteAsync(RunningContainer web)
    {
        ExecResult result = await web.ExecAsync(["ls", "/www"]);
        Console.WriteLine($"{result.ExitCode}: {result.Stdout}{result.Stderr}");

        var terminal = new ExecOptions { Terminal = new(Rows: 24, Columns: 80) };
        await using RunningProcess shell = await web.StartExecAsync(["sh"], terminal);
        await shell.Stdin.WriteAsync("echo $((6 * 7)); exit\n"u8.ToArray());
        string screen = await new StreamReader(shell.Stdout).ReadToEndAsync();

        Assert.That((result.Stdout, screen), Is.EqualTo(("index.html\n", screen)));
        Assert.That(screen, Does.Contain("42"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Functions_that_are_servers(CancellationToken token)
    {
        TestRunner runner = Runner;
        string image = Write(TestImage.Command("/bin/httpd", "-f", "-p", "8080", "-h", "/www").With("httpd").WithLayer(tar => tar.Directory("www").File("www/index.html", "hello")));

        var request = new ContainerRequest { Image = image, Ready = Ready.Listens(8080) };
        await using var service = new FunctionService(runner, request, o => o.MaxInstances = 4);
        using HttpClient pages = service.CreateHttpClient(8080);
        string first = await pages.GetStringAsync("/index.html");

        ExecResult listed = await service.CallAsync(
            (instance, ended) => instance.ExecAsync(["ls", "/www"], cancellationToken: ended));

        Assert.That((first, listed.Stdout), Is.EqualTo(("hello", "index.html\n")));
        token.ThrowIfCancellationRequested();
    }
}
