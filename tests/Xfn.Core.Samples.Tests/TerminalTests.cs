using System.Diagnostics;

namespace Xfn.Core.Samples.Tests;

/// <summary>The real <c>xfn run -it</c>, in a terminal.</summary>
[CancelAfter(120_000)]
public class TerminalTests
{
    private readonly BusyboxImage _images = new();

    private static string Xfn => Path.Combine(AppContext.BaseDirectory, "xfn");

    [OneTimeTearDown]
    public void DeleteImages() => _images.Dispose();

    [Test]
    public async Task A_program_has_the_terminal_and_gives_it_back(CancellationToken token)
    {
        const string script = """
            trap 'echo interrupted; exit 5' INT
            stty size; test -t 0 && test -t 1 && test -t 2 && echo "terminal $TERM"
            read word; echo "read <$word>"
            until [ "$(stty size)" = "40 120" ]; do sleep 0.05; done; echo resized
            while :; do sleep 0.1; done
            """;
        using var terminal = new Pty(rows: 30, columns: 100);
        string before = terminal.Modes;
        using Process xfn = terminal.Start(Xfn, "run", "-it", "--cache-dir", _images.Cache, _images.Write(script));
        try
        {
            Assert.That(await terminal.UntilAsync("terminal xterm\r\n", token), Is.EqualTo("30 100\r\nterminal xterm\r\n"));
            Assert.That(terminal.IsRaw);
            terminal.Type("hello\r");
            await terminal.UntilAsync("\r\nread <hello>\r\n", token);
            terminal.Resize(rows: 40, columns: 120);
            await terminal.UntilAsync("resized\r\n", token);
            terminal.Type("\u0003");
            await terminal.UntilAsync("interrupted\r\n", token);
            await xfn.WaitForExitAsync(token);
            Assert.That((xfn.ExitCode, terminal.Modes), Is.EqualTo((5, before)));
        }
        finally
        {
            End(xfn);
        }
    }

    [TestCase(Signals.Terminate, 137)]
    [TestCase(3, 131)]
    public async Task A_signal_to_xfn_gives_the_terminal_back(int signal, int status, CancellationToken token)
    {
        using var terminal = new Pty(rows: 24, columns: 80);
        string before = terminal.Modes;
        using Process xfn = terminal.Start(Xfn, "run", "-it", "--cache-dir", _images.Cache, _images.Write("echo started; sleep 1000"));
        try
        {
            await terminal.UntilAsync("started\r\n", token);
            Assert.That(terminal.IsRaw);
            Signals.Send(xfn.Id, signal);
            await xfn.WaitForExitAsync(token);
            Assert.That((xfn.ExitCode, terminal.Modes), Is.EqualTo((status, before)));
        }
        finally
        {
            End(xfn);
        }
    }

    [Test]
    public async Task All_that_a_short_program_shows_is_seen(CancellationToken token)
    {
        ToolResult xfn = await RunAsync("-t", "seq 1 1000; test -t 0", token);
        Assert.That(xfn, Is.EqualTo(new ToolResult(0, string.Concat(Enumerable.Range(1, 1000).Select(number => $"{number}\r\n")), "")));
    }

    [Test]
    public async Task A_program_that_does_not_end_is_killed_and_xfn_exits_with_124(CancellationToken token) =>
        Assert.That((await RunAsync("-t", "sleep 1000", token, "--timeout=200ms")).ExitCode, Is.EqualTo(124));

    [Test]
    public async Task Stdin_that_is_no_terminal_is_told(CancellationToken token)
    {
        ToolResult xfn = await RunAsync("-it", "true", token);
        Assert.That(xfn, Is.EqualTo(new ToolResult(125, "", "xfn: error: cannot give a program the terminal: stdin is none. Run xfn in a terminal, or leave out -t (--tty).\n")));
    }

    [Test]
    public async Task Without_a_terminal_stdin_is_passed_on(CancellationToken token) =>
        Assert.That(await RunAsync("-i", "cat", token), Is.EqualTo(new ToolResult(0, "typed", "")));

    private Task<ToolResult> RunAsync(string flag, string script, CancellationToken token, params string[] options) =>
        Tool.RunAsync(Xfn, ["run", flag, "--cache-dir", _images.Cache, .. options, _images.Write(script)], token, "typed");

    private static void End(Process process)
    {
        if (!process.HasExited)
            process.Kill(entireProcessTree: true);
    }
}
