using System.Formats.Tar;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A container that lives, reached: connections, further programs.</summary>
internal sealed class ContainerReachTests : ContainerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_web_server_answers_through_its_namespace(CancellationToken token)
    {
        await using RunningContainer web = await StartWebAsync(token);
        using HttpClient client = web.CreateHttpClient(80);
        Assert.That(await client.GetStringAsync("/index.html", token), Is.EqualTo("hello"));
        Assert.That(await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => client.GetStringAsync("index.html", token))), Is.All.EqualTo("hello"));

        var refused = (await Assert.ThrowsAsync<IOException>(() => web.ConnectAsync(81, token)))!;
        Assert.That(refused.Message, Does.Contain("port 81").And.Contain("It listens on 80."));
        Assert.That(((SocketException)refused.InnerException!).SocketErrorCode, Is.EqualTo(SocketError.ConnectionRefused));

        await web.StopAsync(TimeSpan.Zero, token);
        var ended = (await Assert.ThrowsAsync<ContainerEndedException>(() => web.ConnectAsync(80, token)))!;
        Assert.That((ended.WasReady, ended.Exit.EndedBy), Is.EqualTo((true, ContainerEnd.Stop)));
    }

    private static IEnumerable<TestCaseData> Conditions() =>
    [
        new TestCaseData(Ready.HttpOk(80, "/index.html")) { TestName = "{m}(an answer)" },
        new TestCaseData(Ready.All(Ready.HttpOk(80, "/missing", 404), Ready.Command("test", "-d", "/www"), Ready.Healthcheck)) { TestName = "{m}(all of three)" },
        new TestCaseData(Ready.Any(Ready.LogLine("never"), Ready.When(async (web, token) => (await web.ExecAsync(["true"], cancellationToken: token)).ExitCode == 0))) { TestName = "{m}(one of two)" },
    ];

    [TestCaseSource(nameof(Conditions)), CancelAfter(60_000)]
    public async Task A_web_server_is_ready_by(Ready ready, CancellationToken token)
    {
        await using RunningContainer web = await StartAsync(new ContainerRequest { Image = WebImage(), Ready = ready }, token);
        Assert.That(web.Exited.IsCompleted, Is.False);
    }

    private static IEnumerable<TestCaseData> Hopes() =>
    [
        new TestCaseData(Ready.HttpOk(80, "/missing"), "it answers with status 404") { TestName = "{m}(another answer)" },
        new TestCaseData(Ready.GrpcServing(80), "HTTP/2") { TestName = "{m}(no gRPC)" },
        new TestCaseData(Ready.Command("sh", "-c", "echo no table; exit 2"), "it exits with status 2: no table") { TestName = "{m}(a command)" },
        new TestCaseData(Ready.Command("no-such-program").Within(TimeSpan.FromMinutes(10)), "it never will be. cannot execute 'no-such-program'") { TestName = "{m}(no such command)" },
        new TestCaseData(Ready.When((_, _) => Task.FromResult(false), "has its tables"), "(has its tables): it does not") { TestName = "{m}(a predicate)" },
    ];

    [TestCaseSource(nameof(Hopes)), CancelAfter(60_000)]
    public async Task A_web_server_that_is_not_ready_says_what_was_found(Ready ready, string found, CancellationToken token)
    {
        bool isNever = found.StartsWith("it never", StringComparison.Ordinal);
        ContainerNotReadyException error = await Patience.GrowAsync(
            async limit => (await Assert.ThrowsAsync<ContainerNotReadyException>(
                () => StartAsync(new ContainerRequest { Image = WebImage(), Ready = isNever ? ready : ready.Within(limit) }, token)))!,
            e => e.Message.Contains(found, StringComparison.Ordinal));
        Assert.That(error.Message, Does.Contain(found));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_port_of_this_machine_leads_to_one_that_listens(CancellationToken token)
    {
        // It begins to listen a while after its start.
        await using RunningContainer web = await StartAsync(
            new ContainerRequest { Image = WebImage(), Entrypoint = ["sh", "-c", "read line; exec httpd -f -p 80 -h /www"], Stdio = ContainerStdio.Piped }, token);
        Task<IPEndPoint> forward = web.ForwardAsync(80, cancellationToken: token);
        Assert.That(forward.IsCompleted, Is.False);
        await web.Stdin.WriteAsync("\n"u8.ToArray(), token);
        IPEndPoint endpoint = await forward;
        Assert.That(endpoint.Address, Is.EqualTo(IPAddress.Loopback));
        using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        Assert.That(await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => client.GetStringAsync($"http://{endpoint}/index.html", token))), Is.All.EqualTo("hello"));

        var taken = (await Assert.ThrowsAsync<IOException>(() => web.ForwardAsync(80, endpoint.Port, token)))!;
        Assert.That(taken.Message, Does.Contain($"port {endpoint.Port} of this machine"));

        await web.StopAsync(TimeSpan.Zero, token);
        using var late = new TcpClient();
        Assert.That(() => late.ConnectAsync(endpoint, token).AsTask(), Throws.InstanceOf<SocketException>());
        Assert.That(() => web.ForwardAsync(80, cancellationToken: token), Throws.InstanceOf<ContainerEndedException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_forward_passes_on_the_end_of_each_direction(CancellationToken token)
    {
        // It answers when its client has said all, with more than a buffer holds, and ends with its answer.
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("exec nc -l -p 7 -e sh -c 'wc -c; head -c 3000000 /dev/zero; echo end'").With("nc")), Ready = Ready.Listens(7) }, token);
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(await container.ForwardAsync(7, cancellationToken: token), token);
        await using var stream = new NetworkStream(client);
        await stream.WriteAsync(new byte[1_000_000], token);
        client.Shutdown(SocketShutdown.Send);
        string said = await ReadAllAsync(stream, token);
        Assert.That((said.Split('\n')[0].Trim(), said.Length), Is.EqualTo(("1000000", 8 + 3_000_000 + 4)));
        Assert.That(said, Does.EndWith("\0end\n"));
        Assert.That((await container.Exited.WaitAsync(token)).ExitCode, Is.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_slow_end_of_a_forward_holds_up_the_other(CancellationToken token)
    {
        // What the client does not read the program cannot write: nothing piles up in between.
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("nc -l -p 7 -e yes & sleep 1000").With("nc")), Ready = Ready.Listens(7) }, token);
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        await client.ConnectAsync(await container.ForwardAsync(7, cancellationToken: token), token);
        for (int last = -1; client.Available == 0 || client.Available != last; last = client.Available)
            await Task.Delay(50, token);
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(16 << 20));
        client.Shutdown(SocketShutdown.Both);
        Assert.That((await container.StopAsync(TimeSpan.Zero, token)).EndedBy, Is.EqualTo(ContainerEnd.Stop));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_name_in_one_container_leads_to_another(CancellationToken token)
    {
        await using RunningContainer web = await StartWebAsync(token);
        await using RunningContainer client = await StartAsync(new ContainerRequest { Image = Write(TestImage.Command("sleep", "1000").With("wget")) }, token);
        await client.LinkAsync("pages.example", 8080, web, 80, token);
        await client.LinkAsync("pages", 80, web, cancellationToken: token);
        Assert.That((await client.ExecAsync(["wget", "-q", "-O", "-", "http://pages.example:8080/index.html"], cancellationToken: token)).Stdout, Is.EqualTo("hello"));
        Assert.That((await client.ExecAsync(["wget", "-q", "-O", "-", "http://pages/index.html"], cancellationToken: token)).Stdout, Is.EqualTo("hello"));

        var taken = (await Assert.ThrowsAsync<IOException>(() => client.LinkAsync("other", 8080, web, cancellationToken: token)))!;
        Assert.That(taken.Message, Does.Contain("cannot link 'other:8080'").And.Contain("taken there by link 'pages.example:8080'"));
        var own = (await Assert.ThrowsAsync<IOException>(() => web.LinkAsync("other", 80, client, cancellationToken: token)))!;
        Assert.That(own.Message, Does.Contain("taken there by a program of its own"));
        Assert.That(() => client.ForwardAsync(8080, cancellationToken: new CancellationToken(true)), Throws.InstanceOf<OperationCanceledException>(), "a link is no program that listens");

        await web.StopAsync(TimeSpan.Zero, token);
        ExecResult gone = await client.ExecAsync(["wget", "-q", "-O", "-", "http://pages/index.html"], cancellationToken: token);
        Assert.That(gone.ExitCode, Is.Not.Zero);
        var ended = (await Assert.ThrowsAsync<ContainerEndedException>(() => client.LinkAsync("again", 81, web, cancellationToken: token)))!;
        Assert.That(ended.Image, Is.EqualTo(web.Image));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_connection_is_shut_down_when_its_container_stops(CancellationToken token)
    {
        // It listens and never accepts: the kernel takes the connection.
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("trap 'exit 0' TERM; nc -l -p 7 -e sleep 1000 & while :; do sleep 0.05; done").With("nc")), Ready = Ready.Listens(7) }, token);
        await using Stream connection = await container.ConnectAsync(7, token);
        ValueTask<int> read = connection.ReadAsync(new byte[1], token);
        Assert.That(read.IsCompleted, Is.False);
        Assert.That((await container.StopAsync(TimeSpan.FromMinutes(1), token)).ExitCode, Is.Zero);
        Assert.That(await read, Is.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_further_program_has_the_container_s_walls_and_its_own_streams(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        ExecResult result = await container.ExecAsync(["sh", "-c", "cat; echo beside >&2; echo $A; pwd; exit 5"], new ExecOptions
        {
            Input = "in\n"u8.ToArray(),
            Environment = { ["A"] = "b" },
            WorkingDirectory = "/bin",
        }, token);
        Assert.That((result.ExitCode, result.Signal, result.Stdout, result.Stderr), Is.EqualTo((5, (int?)null, "in\nb\n/bin\n", "beside\n")));

        // It is in the same PID namespace, without capabilities, behind the filter.
        string status = (await container.ExecAsync(["sh", "-c", "cat /proc/1/comm; cat /proc/self/status"], cancellationToken: token)).Stdout;
        Assert.That(status, Does.StartWith("sleep\n").And.Contain("CapEff:\t0000000000000000").And.Contain("Seccomp:\t2").And.Contain("NoNewPrivs:\t1"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_further_program_that_fails_says_why(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        var missing = (await Assert.ThrowsAsync<ExecException>(() => container.ExecAsync(["no-such-program"], cancellationToken: token)))!;
        Assert.That((missing.Reason, missing.Result), Is.EqualTo((ExecFailure.NotExecutable, (ExecResult?)null)));
        Assert.That(missing.Message, Does.StartWith("cannot execute 'no-such-program' in a container of image"));

        ExecException late = await Patience.GrowAsync(
            async limit => (await Assert.ThrowsAsync<ExecException>(() => container.ExecAsync(["sh", "-c", "echo begun; sleep 1000"], new ExecOptions { Timeout = limit }, token)))!,
            e => e.Result?.Stdout.Length > 0);
        Assert.That((late.Reason, late.Result!.Signal, late.Result.Stdout), Is.EqualTo((ExecFailure.TimedOut, (int?)9, "begun\n")));

        var flood = (await Assert.ThrowsAsync<ExecException>(() => container.ExecAsync(["yes"], new ExecOptions { MaxOutputBytes = 1000 }, token)))!;
        Assert.That(flood.Reason, Is.EqualTo(ExecFailure.OutputExceeded));

        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task<ExecResult> cancelled = container.ExecAsync(["sleep", "1000"], cancellationToken: source.Token);
        await source.CancelAsync();
        await Assert.CatchAsync<OperationCanceledException>(() => cancelled);
        while ((await container.ExecAsync(["ps"], cancellationToken: token)).Stdout.Split("sleep").Length > 2)
            await Task.Delay(10, token);
    }

    [Test, CancelAfter(120_000)]
    public async Task More_programs_run_in_it_than_an_id_has_keyrings(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        var programs = new List<RunningProcess>();
        try
        {
            while (programs.Count < 205)
                programs.Add(await container.StartExecAsync(["sleep", "1000"], cancellationToken: token));
        }
        finally
        {
            await container.StopAsync(TimeSpan.Zero, token);
            foreach (RunningProcess program in programs)
                await program.DisposeAsync();
        }
    }

    [Test, CancelAfter(120_000)]
    public async Task A_container_whose_filter_lets_it_ask_for_keys_has_keyrings_of_its_own(CancellationToken token)
    {
        byte[] probe = await TestProgram.BuildAsync("probe", Scratch, token);
        string ours = SessionKeyring((await Tool.RunAsync(Path.Combine(Scratch, "probe"), [], token)).Output);
        TestImage image = TestImage.Shell("/probe; exec sleep 1000").WithLayer(tar => tar.File("probe", probe, (UnixFileMode)0b111_101_101));

        // BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
        byte[] allowAll = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];
        await using TestRunner runner = NewRunner(o => o.Bundle = new() { SeccompFilter = allowAll });
        await using RunningContainer container = await runner.StartAsync(new ContainerRequest { Image = Write(image), Ready = Ready.LogLine("^node ") }, token);
        string first = SessionKeyring(string.Join('\n', (await LinesAsync(container, token)).Select(line => line.Text)));
        string further = SessionKeyring((await container.ExecAsync(["/probe"], cancellationToken: token)).Stdout);
        Assert.That((string[])[ours, first, further], Is.Unique);

        static string SessionKeyring(string said) => said.Split('\n').Single(line => line.StartsWith("session keyring", StringComparison.Ordinal));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_further_program_s_streams_and_signals_are_its_caller_s(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        await using RunningProcess shell = await container.StartExecAsync(["sh", "-c", "trap 'echo caught' HUP; while read line; do echo \"<$line>\"; done; exit 4"], cancellationToken: token);
        using var answers = new StreamReader(shell.Stdout, leaveOpen: true);
        await shell.Stdin.WriteAsync("one\n"u8.ToArray(), token);
        Assert.That(await answers.ReadLineAsync(token), Is.EqualTo("<one>"));
        await shell.Stdin.DisposeAsync();
        Assert.That((await shell.Exited.WaitAsync(token)).ExitCode, Is.EqualTo(4));

        await using RunningProcess sleep = await container.StartExecAsync(["sleep", "1000"], cancellationToken: token);
        sleep.Signal(15);
        Assert.That((await sleep.Exited.WaitAsync(token)).Signal, Is.EqualTo(15));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_further_program_gets_a_terminal_when_asked(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        await using RunningProcess shell = await container.StartExecAsync(["sh"], new ExecOptions { Terminal = new(24, 80) }, token);
        await shell.Stdin.WriteAsync("stty size; exit 3\n"u8.ToArray(), token);
        Assert.That(await ReadAllAsync(shell.Stdout, token), Does.Contain("24 80"));
        Assert.That((await shell.Exited.WaitAsync(token)).ExitCode, Is.EqualTo(3));

        await using RunningProcess waiting = await container.StartExecAsync(["sh", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done"], new ExecOptions { Terminal = new(24, 80) }, token);
        var seen = new StringBuilder();
        while (!seen.ToString().Contains("up", StringComparison.Ordinal))
            seen.Append(await ReadSomeAsync(waiting.Stdout, token));
        waiting.Resize(new(50, 132));
        Assert.That(await ReadAllAsync(waiting.Stdout, token), Does.Contain("50 132"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_further_program_ends_with_its_container(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        await using RunningProcess other = await container.StartExecAsync(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], cancellationToken: token);
        using var answers = new StreamReader(other.Stdout, leaveOpen: true);
        Assert.That(await answers.ReadLineAsync(token), Is.EqualTo("up"));
        Task<ExecResult> third = container.ExecAsync(["sleep", "1000"], cancellationToken: token);

        await container.StopAsync(TimeSpan.Zero, token);
        Assert.That((await other.Exited.WaitAsync(token)).Signal, Is.EqualTo(9));
        Assert.That((await Assert.ThrowsAsync<ContainerEndedException>(() => third))!.Exit.EndedBy, Is.EqualTo(ContainerEnd.Stop));
        Assert.That((await Assert.ThrowsAsync<ContainerEndedException>(() => container.ExecAsync(["true"], cancellationToken: token)))!.WasReady, Is.True);
    }

    [Test, CancelAfter(120_000)]
    public async Task Whatever_is_asked_of_a_container_that_is_just_ending_says_how_it_ended(CancellationToken token)
    {
        await using RunningContainer other = await StartWebAsync(token);
        int refused = 0;
        for (int round = 0; round < 4 || refused == 0; round++)
        {
            await using RunningContainer web = await StartWebAsync(token);
            var uses = new List<Task<Exception?>>();
            for (int i = 1; i <= 3; i++)
            {
                int port = 1000 + i;
                uses.Add(Task.Run(() => FailureOfAsync(async () => await (await web.ConnectAsync(80, token)).DisposeAsync()), token));
                uses.Add(Task.Run(() => FailureOfAsync(() => web.ExecAsync(["true"], cancellationToken: token)), token));
                uses.Add(Task.Run(() => FailureOfAsync(async () => await (await web.StartExecAsync(["true"], cancellationToken: token)).DisposeAsync()), token));
                uses.Add(Task.Run(() => FailureOfAsync(() => web.ReadFileAsync("/www/index.html", cancellationToken: token)), token));
                uses.Add(Task.Run(() => FailureOfAsync(() => web.CopyInAsync("/dev/shm/file", "new"u8.ToArray(), cancellationToken: token)), token));
                uses.Add(Task.Run(() => FailureOfAsync(() => web.LinkAsync("other", port, other, 80, token)), token));
                uses.Add(Task.Run(() => FailureOfAsync(() => web.ForwardAsync(80, cancellationToken: token)), token));
                uses.Add(Task.Run(() => FailureOfAsync(() => Task.FromResult(web.ReadStatistics())), token));
            }

            // At another moment each time: with all still to come, or when some are done.
            await Task.WhenAll(uses.Take(round % 4 * 3));
            ContainerExit exit = await web.StopAsync(TimeSpan.Zero, token);
            foreach (Exception error in (await Task.WhenAll(uses)).OfType<Exception>())
            {
                Assert.That((error as ContainerEndedException)?.Exit, Is.EqualTo(exit), error.ToString());
                refused++;
            }

            Assert.That(web.ReadStatistics().CpuTime, Is.Not.EqualTo(TimeSpan.Zero));
        }

        static async Task<Exception?> FailureOfAsync(Func<Task> use)
        {
            try
            {
                await use();
                return null;
            }
            catch (Exception ex) when (ex is not OperationCanceledException)
            {
                return ex;
            }
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Files_go_in_and_out(CancellationToken token)
    {
        TestImage image = TestImage.Command("sleep", "1000").WithLayer(tar => tar.File("etc/kept", "kept"));
        await using RunningContainer container = await StartAsync(new ContainerRequest { Image = Write(image), WritableRootBytes = 4 << 20 }, token);
        await container.CopyInAsync("/srv/new/app.conf", "content"u8.ToArray(), cancellationToken: token);
        await container.CopyInAsync("/srv/run.sh", "#!/bin/sh\necho ran\n"u8.ToArray(), (UnixFileMode)0b111_101_101, token);
        Assert.That((await container.ExecAsync(["sh", "-c", "cat /srv/new/app.conf; /srv/run.sh"], cancellationToken: token)).Stdout, Is.EqualTo("contentran\n"));
        Assert.That(Text(await container.ReadFileAsync("/etc/kept", cancellationToken: token)), Is.EqualTo("kept"));

        // A directory of this machine, and back as an archive.
        string directory = Path.Combine(Scratch, "site");
        Directory.CreateDirectory(Path.Combine(directory, "deep"));
        await File.WriteAllTextAsync(Path.Combine(directory, "deep", "page"), new string('x', 200_000), token);
        File.CreateSymbolicLink(Path.Combine(directory, "link"), "deep/page");
        CopyReport report = await container.CopyInAsync(directory, "/srv/www", cancellationToken: token);
        Assert.That((report.Entries, report.Bytes, report.Warnings.Count), Is.EqualTo((4L, 200_000L, 0)));
        await using Stream archive = await container.CopyOutAsync("/srv/www", cancellationToken: token);
        var names = new List<string>();
        await using (var reader = new TarReader(archive, leaveOpen: true))
        {
            while (await reader.GetNextEntryAsync(cancellationToken: token) is { } entry)
                names.Add($"{entry.Name.TrimEnd('/')} {entry.Length}");
        }

        Assert.That(names, Is.EquivalentTo((string[])["www 0", "www/deep 0", "www/deep/page 200000", "www/link 0"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_copy_that_cannot_be_made_says_why(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        Assert.That(async () => await container.CopyInAsync("/bin/new", new byte[1 << 20], cancellationToken: token), Throws.InstanceOf<IOException>().With.Message.Contains("cannot copy '/bin/new'"));
        Assert.That(async () => await container.ReadFileAsync("/missing", cancellationToken: token), Throws.InstanceOf<FileNotFoundException>().With.Message.Contains("cannot copy '/missing'"));
        Assert.That(async () => await container.ReadFileAsync("/bin", cancellationToken: token), Throws.InstanceOf<IOException>());
        Assert.That(async () => await container.ReadFileAsync("/bin/busybox", 1000, token), Throws.InstanceOf<IOException>());
        Assert.That(async () => await container.ReadFileAsync("relative", cancellationToken: token), Throws.InstanceOf<InvalidRequestException>());
        Assert.That((await container.ExecAsync(["echo", "on"], cancellationToken: token)).Stdout, Is.EqualTo("on\n"), "the container goes on");

        await container.StopAsync(TimeSpan.Zero, token);
        Assert.That(async () => await container.ReadFileAsync("/bin/busybox", cancellationToken: token), Throws.InstanceOf<ContainerEndedException>());
    }

    [Test, CancelAfter(120_000)]
    public async Task A_file_system_that_is_full_ends_a_copy_and_nothing_else(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync(new ContainerRequest { Image = Write(TestImage.Command("sleep", "1000").With("rm")), Mounts = { Mount.Tmpfs("/data", 1 << 20) } }, token);
        var full = (await Assert.ThrowsAsync<IOException>(() => container.CopyInAsync("/data/large", new byte[4 << 20], cancellationToken: token)))!;
        Assert.That(full.Message, Does.StartWith("cannot copy '/data/large'").And.Contain("No space left on device"));
        Assert.That((await container.ExecAsync(["rm", "-rf", "/data/large"], cancellationToken: token)).ExitCode, Is.Zero);
        await container.CopyInAsync("/data/small", new byte[1 << 10], cancellationToken: token);
        Assert.That(await container.ReadFileAsync("/data/small", cancellationToken: token), Has.Length.EqualTo(1 << 10));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_copy_ends_at_its_limit_however_much_there_is(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("mkdir /data/many; cd /data/many; seq 2000 | xargs touch; echo made; exec sleep 1000").With("mkdir", "seq", "xargs", "touch")), Mounts = { Mount.Tmpfs("/data", 16 << 20) }, Ready = Ready.LogLine("made") }, token);
        var limits = new CopyLimits { MaxEntries = 1000 };
        await using var archive = new ManyEntries(1_000_000);
        var refused = (await Assert.ThrowsAsync<IOException>(() => container.CopyInAsync(archive, "/data", limits, token)))!;
        Assert.That(refused.Message, Does.StartWith("cannot copy '/data'").And.Contain("1000"));
        Assert.That(archive.Made, Is.LessThan(100_000), "nobody reads on");
        Assert.That(
            async () =>
            {
                await using Stream copied = await container.CopyOutAsync("/data/many", limits, token);
                await copied.CopyToAsync(Stream.Null, token);
            },
            Throws.TypeOf<IOException>().With.Message.StartsWith("cannot copy '/data/many'").And.Message.Contain("1000"));
        Assert.That((await container.ExecAsync(["sh", "-c", "echo on"], cancellationToken: token)).Stdout, Is.EqualTo("on\n"));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_server_of_gRPCs_own_library_is_ready_when_it_says_so(CancellationToken token)
    {
        if (!Directory.Exists("/usr/lib/python3/dist-packages/grpc"))
            Assert.Ignore("There is no python3-grpcio.");

        // SERVING is 1, NOT_SERVING 2. It knows one service by name, and serves when it is asked a second time.
        const string server = """
            import concurrent.futures, grpc
            asked = {b'': 0, b'\x0a\x02db': 0}
            def check(request, context):
                if request not in asked: context.abort(grpc.StatusCode.NOT_FOUND, 'unknown')
                asked[request] += 1
                ready = asked[request] > 1
                print('asked, and', 'serving' if ready else 'not serving', flush=True)
                return b'\x08\x01' if ready else b'\x08\x02'
            s = grpc.server(concurrent.futures.ThreadPoolExecutor())
            s.add_generic_rpc_handlers([grpc.method_handlers_generic_handler('grpc.health.v1.Health', {'Check': grpc.unary_unary_rpc_method_handler(check)})])
            s.add_insecure_port('127.0.0.1:9443')
            s.start()
            s.wait_for_termination()
            """;
        await using TestRunner runner = NewRunner(PythonOfThisMachine);
        var request = new ContainerRequest { Image = Write(PythonShell("exec python3 -c \"$SERVER\"")), Environment = { ["SERVER"] = server } };
        await using RunningContainer ready = await runner.StartAsync(request with { Ready = Ready.All(Ready.GrpcServing(9443), Ready.GrpcServing(9443, "db")) }, token);
        Assert.That((await LinesAsync(ready, token)).Select(line => line.Text), Is.SupersetOf((string[])["asked, and not serving", "asked, and serving"]));
    }

    private static async Task<string> ReadAllAsync(Stream stream, CancellationToken token)
    {
        using var reader = new StreamReader(stream, leaveOpen: true);
        return await reader.ReadToEndAsync(token);
    }

    private static async Task<string> ReadSomeAsync(Stream stream, CancellationToken token)
    {
        var buffer = new byte[4096];
        return Encoding.UTF8.GetString(buffer, 0, await stream.ReadAsync(buffer, token));
    }
}
