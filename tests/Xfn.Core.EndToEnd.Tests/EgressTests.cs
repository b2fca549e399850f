using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Registry;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>The way out of a container: to what its request lists, and to nothing else.</summary>
internal sealed class EgressTests : ContainerFixture
{
    /// <summary>Pages by HTTP, one a line, or why there is none.</summary>
    private const string Get = """
        import sys, urllib.request
        for url in sys.argv[1:]:
            try: print(url, urllib.request.urlopen('http://' + url, timeout=30).read().decode())
            except Exception as e: print(url, e)
        """;

    [Test, CancelAfter(120_000)]
    public async Task A_container_reaches_what_is_listed_from_its_first_line_and_nothing_else(CancellationToken token)
    {
        using var web = new WebServer(token);
        await using RunningContainer container = await StartAsync(
            web, $"unset no_proxy NO_PROXY; get a.test b.c.test:81 c.test:81 a.test:82 d.test 203.0.113.5 127.0.0.1:{web.Port}", ["a.test:80", "*.c.test:81", "d.test:80"], token);
        Assert.That((await container.Exited.WaitAsync(token)).ExitCode, Is.Zero);
        const string refused = "HTTP Error 403: Forbidden";
        Assert.That(await TextAsync(container, token), Is.EqualTo((string[])[
            "a.test page of a.test", "b.c.test:81 page of b.c.test:81", $"c.test:81 {refused}", $"a.test:82 {refused}", $"d.test {refused}", $"203.0.113.5 {refused}", $"127.0.0.1:{web.Port} {refused}"]));
        Assert.That(web.Connected, Is.EqualTo((string[])["203.0.113.5 port 80", "203.0.113.6 port 81"]), "the address of d.test is private");
    }

    [TestCase(false), TestCase(true), CancelAfter(120_000)]
    public async Task A_function_reaches_what_is_listed_and_nothing_else(bool isPrepared, CancellationToken token)
    {
        using var web = new WebServer(token);
        await using TestRunner runner = NewRunner(web);
        var request = new RunFunctionRequest { Image = Image("cat; get a.test b.test; unset http_proxy; get a.test:81"), Container = new() { Egress = ["a.test:80", "a.test:81"] } };
        await using PreparedFunction? prepared = isPrepared ? await runner.PrepareAsync(request, cancellationToken: token) : null;
        for (int run = 0; run < 2; run++)
        {
            byte[] input = "in\n"u8.ToArray();
            RunFunctionResponse answer = await (prepared?.RunAsync(input, token) ?? runner.RunFunctionAsync(request with { Input = input }, token));
            Assert.That(Text(answer.Output), Is.EqualTo("in\na.test page of a.test\nb.test HTTP Error 403: Forbidden\na.test:81 page of a.test:81\n"));
            while (prepared is { ReadyCount: 0 })
                await Task.Delay(5, token);
        }

        Assert.That(web.Connected, Has.Count.EqualTo(4));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_function_s_connections_end_with_it_and_its_failures_are_told_as_without_them(CancellationToken token)
    {
        const string connected = "python3 -c \"import socket, time; s = socket.create_connection(('a.test', 80)); time.sleep(1000)\" & ";
        using var web = new WebServer(token);
        await using TestRunner runner = NewRunner(web);
        var failed = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunAsync(connected + "echo why >&2; exit 3", TimeSpan.FromMinutes(1))))!;
        Assert.That((failed.ExitCode, failed.StderrTail), Is.EqualTo((3, "why\n")));
        FunctionTimedOutException late = await Patience.GrowAsync(
            async limit => (await Assert.ThrowsAsync<FunctionTimedOutException>(() => RunAsync(connected + "echo begun >&2; sleep 1000", limit)))!, e => e.StderrTail.Length > 0);
        Assert.That(late.StderrTail, Is.EqualTo("begun\n"));
        while (web.Open > 0)
            await Task.Delay(5, token);

        string image = Write(TestImage.Command("/script").WithLayer(tar => tar.File("script", "#!/no/such/shell\n"u8.ToArray(), (UnixFileMode)0b111_101_101)));
        Assert.That(
            () => runner.RunFunctionAsync(new() { Image = image, Container = new() { Egress = ["a.test:80"] } }, token),
            Throws.TypeOf<InvalidImageException>().With.Message.StartsWith($"cannot start '/script' of image '{image}': it cannot be executed"));

        Task<RunFunctionResponse> RunAsync(string script, TimeSpan timeout) => runner.RunFunctionAsync(
            new RunFunctionRequest { Image = Image(script), RunFunctionConfig = new() { Timeout = timeout }, Container = new() { Egress = ["a.test:80"] } }, token);
    }

    [Test, CancelAfter(120_000)]
    public async Task Without_the_proxy_only_hosts_that_are_listed_by_their_names_are_reached(CancellationToken token)
    {
        using var web = new WebServer(token);
        await using RunningContainer container = await StartAsync(
            web, $"unset http_proxy HTTP_PROXY all_proxy ALL_PROXY; get a.test b.c.test:81 192.0.2.1 127.0.0.1:{web.Port}", ["a.test:80", "*.c.test:81", "192.0.2.1:80"], token);
        await container.Exited.WaitAsync(token);
        List<string> lines = await TextAsync(container, token);
        Assert.That(lines[0], Is.EqualTo("a.test page of a.test"));
        Assert.That(lines[1], Does.StartWith("b.c.test:81 <urlopen error [Errno -"), "the name is unknown");
        Assert.That(lines[2], Is.EqualTo("192.0.2.1 <urlopen error [Errno 101] Network is unreachable>"));
        Assert.That(lines[3], Does.EndWith("Connection refused>"));
        Assert.That(web.Connected, Is.EqualTo((string[])["203.0.113.5 port 80"]));
    }

    [Test, CancelAfter(120_000)]
    public async Task What_is_listed_by_its_number_may_be_this_machine(CancellationToken token)
    {
        using var web = new WebServer(token);
        string host = $"127.0.0.1:{web.Port}";
        await using RunningContainer container = await StartAsync(web, $"unset no_proxy NO_PROXY; get {host}", [host], token);
        await container.Exited.WaitAsync(token);
        Assert.That(await TextAsync(container, token), Is.EqualTo((string[])[$"{host} page of {host}"]));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_program_that_is_executed_later_has_the_way_out_too_and_the_callers_own_words_win(CancellationToken token)
    {
        using var web = new WebServer(token);
        await using RunningContainer container = await StartAsync(
            web, new() { Image = Image("exec sleep 1000"), Egress = ["a.test:80"], Environment = { ["no_proxy"] = "mine" }, ExtraHosts = { ["db"] = IPAddress.Loopback } }, token);
        ExecResult got = await container.ExecAsync(["/bin/sh", "-c", "get() { python3 -c \"$GET\" \"$@\"; }; get a.test; env"], cancellationToken: token);
        string[] lines = got.Stdout.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(lines[0], Is.EqualTo("a.test page of a.test"), got.Stderr);
        Assert.That(lines, Is.SupersetOf((string[])["HTTP_PROXY=http://127.0.0.1:61000", "https_proxy=http://127.0.0.1:61000", "ALL_PROXY=http://127.0.0.1:61000", "no_proxy=mine"]));
        Assert.That(lines, Has.None.StartsWith("NO_PROXY="));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_container_listens_where_it_says_whatever_is_listed(CancellationToken token)
    {
        using var web = new WebServer(token);
        await using RunningContainer container = await StartAsync(
            web,
            new()
            {
                Image = Image("echo own > /tmp/index.html; busybox httpd -p 80 -h /tmp; exec busybox httpd -f -p 81 -h /tmp", exposed: "81/tcp"),
                Egress = ["a.test:80", "b.test:81"],
                Ready = Ready.All(Ready.Listens(80), Ready.When(async (starting, asked) =>
                {
                    try
                    {
                        await (await starting.ConnectAsync(81, asked)).DisposeAsync();
                        return true;
                    }
                    catch (IOException)
                    {
                        return false;
                    }
                })),
            },
            token);
        foreach (int port in (int[])[80, 81])
        {
            using HttpClient client = container.CreateHttpClient(port);
            Assert.That(await client.GetStringAsync(new Uri("/", UriKind.Relative), token), Is.EqualTo("own\n"));
        }

        ExecResult got = await container.ExecAsync([Python, "-c", Get, "a.test", "b.test:81"], cancellationToken: token);
        Assert.That(got.Stdout, Is.EqualTo("a.test page of a.test\nb.test:81 page of b.test:81\n"), "through the proxy");
    }

    [Test, CancelAfter(120_000)]
    public async Task A_link_to_another_container_is_reached_through_the_proxy_and_without_it(CancellationToken token)
    {
        using var web = new WebServer(token);
        await using RunningContainer other = await StartWebAsync(token);
        await using RunningContainer container = await StartAsync(web, "exec sleep 1000", ["a.test:80"], token);
        await container.LinkAsync("pages.internal", 80, other, cancellationToken: token);
        foreach (string shell in (string[])["", "unset http_proxy HTTP_PROXY; "])
        {
            ExecResult got = await container.ExecAsync(["/bin/sh", "-c", shell + "python3 -c \"$GET\" pages.internal a.test"], cancellationToken: token);
            Assert.That(got.Stdout, Is.EqualTo("pages.internal hello\na.test page of a.test\n"));
        }
    }

    [Test, CancelAfter(120_000)]
    public async Task Nothing_of_it_is_there_unless_it_is_asked_for(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("env; cat /proc/net/tcp /proc/net/tcp6", Ready.Started, token);
        await container.Exited.WaitAsync(token);
        Assert.That((await TextAsync(container, token)).Where(line => line.Contains("proxy", StringComparison.OrdinalIgnoreCase) || line.Contains(" 0A ", StringComparison.Ordinal)), Is.Empty);
    }

    [Test, CancelAfter(120_000)]
    public async Task Its_connections_end_with_the_container(CancellationToken token)
    {
        using var web = new WebServer(token);
        await using (RunningContainer container = await StartAsync(web, "exec python3 -c \"import socket, time; s = socket.create_connection(('a.test', 80)); time.sleep(1000)\"", ["a.test:80"], token))
        {
            while (web.Open == 0)
                await Task.Delay(5, token);
            await container.StopAsync(TimeSpan.Zero, token);
        }

        while (web.Open > 0)
            await Task.Delay(5, token);
    }

    [Test, CancelAfter(120_000), Category("Long"), Category("soaks")]
    public async Task Ten_thousand_connections_of_a_container_hold_up_nobody_else(CancellationToken token)
    {
        // To its proxy, and to a link. Each program has fewer than 1,024 descriptors.
        const int programs = 6, each = 850;
        const string flood = """
            import os, socket, sys, time
            for program in range(int(sys.argv[3])):
                if os.fork() == 0: break
            else: time.sleep(1000)
            held = []
            while len(held) < int(sys.argv[4]):
                held.append(socket.socket())
                held[-1].setblocking(False)
                held[-1].connect_ex((sys.argv[1], int(sys.argv[2])))
            print('opened', flush=True)
            time.sleep(1000)
            """;
        using var web = new WebServer(token);
        await using TestRunner runner = NewRunner(web);
        await using RunningContainer pages = await runner.StartAsync(new ContainerRequest { Image = WebImage(), Ready = Ready.Listens(80) }, token);
        await using RunningContainer neighbour = await runner.StartAsync(new() { Image = Image("exec sleep 1000"), Egress = ["a.test:80"] }, token);
        int before = Leftovers.Take().Descriptors;
        await using (RunningContainer hostile = await runner.StartAsync(new() { Image = Image("exec sleep 1000"), Egress = ["a.test:80"] }, token))
        {
            await hostile.LinkAsync("pages", 80, pages, cancellationToken: token);
            foreach ((string host, string port) in new[] { ("127.0.0.1", "61000"), ("pages", "80") })
            {
                RunningProcess program = await hostile.StartExecAsync([Python, "-c", flood, host, port, $"{programs}", $"{each}"], cancellationToken: token);
                using var said = new StreamReader(program.Stdout, leaveOpen: true);
                for (int opened = 0; opened < programs; opened++)
                    Assert.That(await said.ReadLineAsync(token), Is.EqualTo("opened"));
            }

            // A relay has at most 1,024 connections, of two descriptors each; a proxy 256.
            Assert.That(Leftovers.Take().Descriptors - before, Is.LessThan(2 * 1024 + 2 * 256 + 100));
            ExecResult got = await neighbour.ExecAsync([Python, "-c", Get, "a.test"], cancellationToken: token);
            Assert.That(got.Stdout, Is.EqualTo("a.test page of a.test\n"), got.Stderr);
            Assert.That((await hostile.ExecAsync(["/bin/sh", "-c", "echo on"], cancellationToken: token)).Stdout, Is.EqualTo("on\n"));
        }

        while (Leftovers.Take().Descriptors > before + 20)
            await Task.Delay(20, token);
    }

    [Test, CancelAfter(120_000)]
    public async Task A_program_that_cannot_be_executed_fails_the_start(CancellationToken token)
    {
        string image = Write(TestImage.Command("/script").WithLayer(tar => tar.File("script", "#!/no/such/shell\n"u8.ToArray(), (UnixFileMode)0b111_101_101)));
        var error = await Assert.ThrowsAsync<InvalidImageException>(() => StartAsync(new ContainerRequest { Image = image, Egress = ["a.test:80"] }, token));
        Assert.That(error!.Message, Does.StartWith($"cannot start '/script' of image '{image}': it cannot be executed"));
    }

    [TestCase(NetworkPolicy.Isolated, "a.test", "cannot use egress 'a.test': it has no port.")]
    [TestCase(NetworkPolicy.Runner, "a.test:80", "cannot use egress in the runner's network")]
    public void A_list_that_makes_no_sense_is_an_error_before_anything_is_started(NetworkPolicy network, string rule, string message) => Assert.That(
        () => StartAsync(new ContainerRequest { Image = "oci:/nowhere", Network = network, Egress = [rule] }, CancellationToken.None), Throws.TypeOf<InvalidRequestException>().With.Message.StartsWith(message));

    private static async Task<List<string>> TextAsync(RunningContainer container, CancellationToken token) => [.. (await LinesAsync(container, token)).Select(line => line.Text)];

    /// <summary>A shell that has <c>get</c>, by this machine's Python.</summary>
    private string Image(string script, params string[] exposed)
    {
        TestImage image = PythonShell("get() { python3 -c \"$GET\" \"$@\"; }; " + script);
        image.Config = image.Config with { Env = [.. image.Config.Env!, "GET=" + Get], ExposedPorts = exposed.ToDictionary(port => port, _ => JsonElement.Parse("{}")) };
        return Write(image, $"{Guid.NewGuid():N}");
    }

    private Task<RunningContainer> StartAsync(WebServer web, string script, IList<string> egress, CancellationToken token) =>
        StartAsync(web, new() { Image = Image(script), Egress = egress }, token);

    private Task<RunningContainer> StartAsync(WebServer web, ContainerRequest request, CancellationToken token) => NewRunner(web).StartAsync(request, token);

    private TestRunner NewRunner(WebServer web)
    {
        TestRunner runner = NewRunner(PythonOfThisMachine);
        runner.EgressDialer = web;
        return runner;
    }

    /// <summary>A server on loopback, and names that lead there. Its page is the name by which it was asked.</summary>
    private sealed class WebServer : Dialer, IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private int _open;

        public WebServer(CancellationToken token)
        {
            _listener.Start();
            _ = AcceptAsync(token);
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public ConcurrentQueue<string> Connected { get; } = [];

        public int Open => Volatile.Read(ref _open);

        public override async Task<(Stream Stream, IPAddress Address)> ConnectAsync(IPAddress[] addresses, int port, CancellationToken cancellationToken)
        {
            Connected.Enqueue($"{string.Join(' ', addresses.Select(address => $"{address}"))} port {port}");
            return await base.ConnectAsync([IPAddress.Loopback], Port, cancellationToken);
        }

        public void Dispose() => _listener.Dispose();

        protected override Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken) =>
            Task.FromResult<IPAddress[]>([IPAddress.Parse(host switch { "a.test" => "203.0.113.5", "d.test" => "10.0.0.1", _ => "203.0.113.6" })]);

        private async Task AcceptAsync(CancellationToken token)
        {
            try
            {
                while (true)
                    _ = ServeAsync(await _listener.AcceptTcpClientAsync(token), token);
            }
            catch (Exception ex) when (ex is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // The test is over.
            }
        }

        private async Task ServeAsync(TcpClient client, CancellationToken token)
        {
            Interlocked.Increment(ref _open);
            try
            {
                using (client)
                {
                    using var reader = new StreamReader(client.GetStream());
                    string host = "";
                    while (await reader.ReadLineAsync(token) is { Length: > 0 } line)
                        host = line.StartsWith("Host: ", StringComparison.OrdinalIgnoreCase) ? line["Host: ".Length..] : host;
                    string page = $"page of {host}";
                    await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {page.Length}\r\n\r\n{page}"), token);
                }
            }
            catch (Exception ex) when (ex is IOException or OperationCanceledException)
            {
                // The container has ended, or the test.
            }
            finally
            {
                Interlocked.Decrement(ref _open);
            }
        }
    }
}
