using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Samples.Tests;

/// <summary>The real <c>xfn up</c> with real containers.</summary>
[CancelAfter(120_000)]
public class UpTests
{
    /// <summary>A web server that says when it was asked to stop.</summary>
    private const string Server = "trap 'echo stopping; exit 7' TERM; mkdir -p /tmp/www; echo hello >/tmp/www/index.html; echo serving; httpd -p 80 -h /tmp/www; sleep 1000 & wait";

    private readonly BusyboxImage _images = new();

    private static string Xfn => Path.Combine(AppContext.BaseDirectory, "xfn");

    [OneTimeTearDown]
    public void DeleteImages() => _images.Dispose();

    [TestCase(Signals.Interrupt)]
    [TestCase(Signals.Terminate)]
    public async Task A_server_is_told_to_be_ready_is_reached_and_is_asked_to_stop(int signal, CancellationToken token)
    {
        string image = _images.Write(Server);
        using Process xfn = Start(Server, "--ready=http:80", "-p80", "--grace=100s");
        try
        {
            await UntilAsync(xfn.StandardError, " is ready after ", token);
            string forwarded = await UntilAsync(xfn.StandardError, " leads to port 80 of ", token);
            var address = IPEndPoint.Parse(forwarded.Split(' ')[1]);
            Assert.That(address.Address, Is.EqualTo(IPAddress.Loopback));
            using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false });
            Assert.That(await client.GetStringAsync($"http://{address}/index.html", token), Is.EqualTo("hello\n"));

            Signals.Send(xfn.Id, signal);
            Assert.That(await xfn.StandardOutput.ReadToEndAsync(token), Is.EqualTo("serving\nstopping\n"));
            await xfn.WaitForExitAsync(token);
            Assert.That((xfn.ExitCode, await xfn.StandardError.ReadToEndAsync(token)), Is.EqualTo((7, $"xfn: stopping '{image}', for at most 100 s. A second signal does not wait.\nxfn: '{image}' exited with status 7.\n")));
        }
        finally
        {
            End(xfn);
        }
    }

    [Test]
    public async Task A_container_that_ends_by_itself_ends_xfn_with_its_logs_and_its_status(CancellationToken token)
    {
        ToolResult xfn = await UpAsync("echo out; echo error >&2; printf 'no line feed'; exit 3", token);
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((3, "out\nno line feed\n")));
        Assert.That(xfn.Error, Does.Contain("error\n").And.EndWith(" exited with status 3.\n"));
    }

    [Test]
    public async Task All_of_many_lines_are_shown(CancellationToken token)
    {
        // Less than what is kept for a reader that is late.
        ToolResult xfn = await UpAsync("seq 1 20000", token);
        Assert.That(xfn.Output, Is.EqualTo(string.Concat(Enumerable.Range(1, 20_000).Select(number => $"{number}\n"))), xfn.Error);
        Assert.That(xfn.ExitCode, Is.Zero);
    }

    [Test]
    public async Task One_that_has_no_handler_for_its_stop_signal_is_killed(CancellationToken token)
    {
        using Process xfn = Start("echo started; sleep 1000", "--grace=100s");
        try
        {
            await UntilAsync(xfn.StandardOutput, "started", token);
            Signals.Send(xfn.Id, Signals.Terminate);
            string said = await xfn.StandardError.ReadToEndAsync(token);
            await xfn.WaitForExitAsync(token);
            Assert.That(xfn.ExitCode, Is.EqualTo(137), said);
            Assert.That(said, Does.EndWith(" was ended by signal 9: it took no notice of its stop signal.\n"));
        }
        finally
        {
            End(xfn);
        }
    }

    [Test]
    public async Task One_that_ends_before_it_is_ready_is_125_after_its_logs(CancellationToken token)
    {
        ToolResult xfn = await UpAsync("echo before; exit 4", token, "--ready", "81");
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((125, "before\n")));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: cannot start container of image ").And.Contain("listens on port 81) it exited with status 4."));
    }

    [Test]
    public async Task One_that_is_not_ready_in_time_is_125(CancellationToken token)
    {
        ToolResult xfn = await UpAsync("sleep 1000", token, "--ready=81", "--ready-within=200ms");
        Assert.That(xfn.ExitCode, Is.EqualTo(125));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: cannot start container of image ").And.Contain("after 0.2 s it is not ready"));
    }

    [Test]
    public async Task What_cannot_be_started_is_125_and_one_line(CancellationToken token)
    {
        ToolResult xfn = await Tool.RunAsync(Xfn, ["up", "--cache-dir", _images.Cache, $"oci:{_images.Directory}/nowhere"], token);
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((125, "")));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: cannot find image ").And.Matches(@"\A[^\n]*\n\z"));
    }

    [Test]
    public async Task A_port_that_is_taken_ends_it(CancellationToken token)
    {
        using var taker = new TcpListener(IPAddress.Loopback, 0);
        taker.Start();
        ToolResult xfn = await UpAsync(Server, token, "--grace=100s", $"-p{((IPEndPoint)taker.LocalEndpoint).Port}:80");
        Assert.That(xfn.ExitCode, Is.EqualTo(125));
        Assert.That(xfn.Output, Is.EqualTo("serving\nstopping\n"));
        Assert.That(xfn.Error, Does.Contain("xfn: error: cannot forward port "));
    }

    [Test]
    public async Task One_whose_logs_nobody_reads_any_more_is_stopped(CancellationToken token)
    {
        string script = $"{{ \"$0\" up --grace=0s --cache-dir {_images.Cache} {_images.Write("while :; do echo y; done")} 2>/dev/null; echo $? >{_images.Directory}/status; }} | head -n 1";
        Assert.That(await Tool.RunAsync("/bin/sh", ["-c", script, Xfn], token), Is.EqualTo(new ToolResult(0, "y\n", "")));
        Assert.That(await File.ReadAllTextAsync(Path.Combine(_images.Directory, "status"), token), Is.EqualTo("141\n"));
    }

    [Test]
    public async Task When_xfn_is_killed_nothing_is_left(CancellationToken token)
    {
        string mark = $"xfn-up-{Guid.NewGuid():N}";
        using Process xfn = Start($"echo started; sleep 1000; : {mark}");
        try
        {
            await UntilAsync(xfn.StandardOutput, "started", token);
            Assert.That(Marked(mark), Is.Not.Empty);
        }
        finally
        {
            Signals.Send(xfn.Id, Signals.Kill);
        }

        while (Marked(mark).Length > 0)
            await Task.Delay(20, token);
    }

    /// <summary>The processes with a word among their arguments.</summary>
    private static string[] Marked(string mark) => [.. Directory.GetDirectories("/proc").Where(process => char.IsAsciiDigit(process[6]) && Arguments(process).Contains(mark))];

    private static string Arguments(string process)
    {
        try
        {
            return File.ReadAllText($"{process}/cmdline");
        }
        catch (IOException)
        {
            return "";
        }
    }

    /// <summary>Reads up to a line that contains a text.</summary>
    /// <returns>The line.</returns>
    private static async Task<string> UntilAsync(StreamReader reader, string text, CancellationToken token)
    {
        var before = new List<string>();
        while (await reader.ReadLineAsync(token) is { } line)
        {
            if (line.Contains(text))
                return line;
            before.Add(line);
        }

        throw new AssertionException($"There is no '{text}' in: {string.Join('\n', before)}");
    }

    private Process Start(string script, params string[] options) => Tool.Start(Xfn, ["up", "--cache-dir", _images.Cache, .. options, _images.Write(script)]);

    private static void End(Process process)
    {
        if (!process.HasExited)
            process.Kill();
    }

    private Task<ToolResult> UpAsync(string script, CancellationToken token, params string[] options) =>
        Tool.RunAsync(Xfn, ["up", "--cache-dir", _images.Cache, .. options, _images.Write(script)], token);
}
