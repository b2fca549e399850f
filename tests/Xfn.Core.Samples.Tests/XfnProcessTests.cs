using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Xfn.Core.Samples.Tests;

/// <summary>The real <c>xfn</c> with real containers: a process's streams, its status and its signals.</summary>
[CancelAfter(120_000)]
public class XfnProcessTests
{
    private string _directory = "";

    [OneTimeSetUp]
    public void MakeDirectory() => _directory = Directory.CreateTempSubdirectory("xfn-cli-").FullName;

    [OneTimeTearDown]
    public void DeleteDirectory()
    {
        // What was unpacked may belong to subordinate ids, which only root of a user namespace may delete.
        string[] remove = ["rm", "-rf", _directory];
        _ = Environment.IsPrivilegedProcess ? Tool.Run("rm", remove[1..]) : Tool.Run("unshare", ["--user", "--map-root-user", "--map-auto", .. remove]);
    }

    [Test]
    public async Task Stdin_stdout_and_stderr_are_the_functions(CancellationToken token)
    {
        ToolResult xfn = await RunAsync("cat; echo to stderr >&2", "from stdin", token);
        Assert.That(xfn, Is.EqualTo(new ToolResult(0, "from stdin", "to stderr\n")));
    }

    [Test]
    public async Task Without_a_file_stdin_is_read(CancellationToken token)
    {
        ToolResult xfn = await Tool.RunAsync(Xfn, ["run", "--cache-dir", At("cache"), Function("cat; echo once >&2; exit 3")], token, "from stdin");
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((3, "from stdin")));
        Assert.That(xfn.Error, Does.Match(@"\Aonce\nxfn: error: [^\n]* exited with status 3\.\n\z"));
    }

    [Test]
    public async Task Alone_on_a_terminal_xfn_shows_its_help_and_a_function_gets_nothing_to_read(CancellationToken token)
    {
        using var terminal = new Pty(24, 80);
        using (Process xfn = terminal.Start(Xfn))
        {
            await terminal.UntilAsync("alone on a terminal it shows this.", token);
            await xfn.WaitForExitAsync(token);
            Assert.That(xfn.ExitCode, Is.Zero);
        }

        using Process run = terminal.Start(Xfn, "run", "--cache-dir", At("cache"), Function("cat; echo end of input"));
        await terminal.UntilAsync("end of input", token);
        await run.WaitForExitAsync(token);
        Assert.That(run.ExitCode, Is.Zero);
    }

    [Test]
    public async Task The_functions_exit_status_is_xfns(CancellationToken token)
    {
        ToolResult xfn = await RunAsync("exit 3", "", token);
        Assert.That(xfn.ExitCode, Is.EqualTo(3));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: ").And.Contain("exited with status 3"));
    }

    [Test]
    public async Task A_function_that_does_not_end_is_killed_and_xfn_exits_with_124(CancellationToken token) =>
        Assert.That((await RunAsync("sleep 1000", "", token, "--timeout=500ms")).ExitCode, Is.EqualTo(124));

    [Test]
    public async Task What_xfn_cannot_do_is_125_and_one_line(CancellationToken token)
    {
        ToolResult xfn = await Tool.RunAsync(Xfn, ["run", "--cache-dir", At("cache"), $"oci:{At("nowhere")}", "-"], token);
        Assert.That(xfn.ExitCode, Is.EqualTo(125));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: ").And.Contain(At("nowhere")).And.Matches(@"\A[^\n]*\n\z"));
    }

    [TestCase("true", "")]
    [TestCase("true", "<&-")]
    [TestCase("true", "<&- >&-")]
    [TestCase("mkdir null", "<&-")]
    [CancelAfter(120_000)]
    public async Task Without_dev_null_xfn_says_one_line(string change, string redirections, CancellationToken token)
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Ignore("only root may have another /dev");
        string dev = Directory.CreateDirectory(At("dev")).FullName;
        string script = $"mount -t tmpfs none {dev} && cd {dev} && cp -a /dev/zero /dev/full /dev/random /dev/urandom . && {change} && mount --move . /dev && cd / && exec \"$0\" run --cache-dir {At("cache")} oci:{At("nowhere")} - {redirections}";
        ToolResult xfn = await Tool.RunAsync("unshare", ["--mount", "sh", "-c", script, Xfn], token);
        Assert.That(xfn.ExitCode, Is.EqualTo(125), xfn.Error);
        Assert.That(xfn.Error, Does.StartWith("xfn: error: ").And.Contain(At("nowhere")).And.Matches(@"\A[^\n]*\n\z"));
    }

    [TestCase(Signals.Interrupt, 130)]
    [TestCase(Signals.Terminate, 143)]
    public async Task A_signal_ends_the_run(int signal, int status, CancellationToken token)
    {
        // The input stays open, as a terminal does: xfn must not wait for it.
        using Process xfn = StartFunction("echo started; sleep 60");
        Assert.That(await xfn.StandardOutput.ReadLineAsync(token), Is.EqualTo("started"));
        Signals.Send(xfn.Id, signal);
        await xfn.WaitForExitAsync(token);
        Assert.That(xfn.ExitCode, Is.EqualTo(status));
    }

    [TestCase("doctor >&-", 125, "xfn: error: cannot write to stdout: it is closed, or not open for writing.\n")]
    [TestCase("doctor >/dev/full", 125, "xfn: error: cannot write to stdout: No space left on device.\n")]
    [TestCase("--help >/dev/full", 125, "xfn: error: cannot write to stdout: No space left on device.\n")]
    [TestCase("--version </dev/null 2>&-", 0, "")]
    [TestCase("--bogus 2>&-", 125, "")]
    [TestCase("--bogus 2>/dev/full", 125, "")]
    public async Task What_cannot_be_written_is_told_where_there_is_somebody_to_tell(string command, int status, string said, CancellationToken token)
    {
        ToolResult xfn = await ShellAsync($"$0 {command}", token);
        Assert.That((xfn.ExitCode, xfn.Error), Is.EqualTo((status, said)));
    }

    [TestCase("cat", ">&-", 125, "", "xfn: error: cannot write to stdout: it is closed, or not open for writing.\n")]
    [TestCase("cat", ">/dev/full", 125, "", "xfn: error: cannot write to stdout: No space left on device.\n")]
#if !DEBUG
    // The runtime of managed code opens files of its own in the places of those that are closed.
    [TestCase("cat; echo said >&2", "2>&-", 0, "hello", "")]
    [TestCase("wc -c", "<&-", 0, "0\n", "")]
#endif
    [TestCase("echo said >&2; exit 3", "2>/dev/full", 125, "", "")]
    public async Task Output_of_a_function_that_cannot_be_written_fails_its_run(string script, string redirection, int status, string output, string said, CancellationToken token)
    {
        Assert.That(await ShellAsync($"$0 run --cache-dir {At("cache")} {Function(script)} - {redirection}", token, "hello"), Is.EqualTo(new ToolResult(status, output, said)));
    }

    [TestCase("yes", "")]
    [TestCase("yes >&2", "2>&1 >/dev/null")]
    public async Task A_function_whose_output_nobody_reads_any_more_is_ended(string script, string redirection, CancellationToken token)
    {
        ToolResult xfn = await ShellAsync($"{{ $0 run --timeout=100s --cache-dir {At("cache")} {Function(script)} - {redirection}; echo $? >{At("status")}; }} | head -n 1", token);
        Assert.That(xfn, Is.EqualTo(new ToolResult(0, "y\n", "")));
        Assert.That(await File.ReadAllTextAsync(At("status"), token), Is.EqualTo("141\n"));
    }

    [Test]
    public async Task A_signal_ends_a_run_whose_reader_does_not_read(CancellationToken token)
    {
        using Process xfn = StartFunction("yes", "--timeout=100s");

        // Until the pipe is full and xfn writes no more. A write that waits is not counted, however much of it fitted.
        await xfn.StandardOutput.ReadLineAsync(token);
        long before = 0;
        for (int unchanged = 0; unchanged < 10; before = Written(xfn))
        {
            await Task.Delay(50, token);
            unchanged = Written(xfn) == before ? unchanged + 1 : 0;
        }

        Signals.Send(xfn.Id, Signals.Terminate);
        await xfn.WaitForExitAsync(token);
        Assert.That(xfn.ExitCode, Is.EqualTo(143));
    }

    [Test]
    public async Task A_function_that_reads_nothing_ends_although_stdin_stays_open(CancellationToken token)
    {
        using Process xfn = StartFunction("echo done");
        Assert.That(await xfn.StandardOutput.ReadToEndAsync(token), Is.EqualTo("done\n"));
        await xfn.WaitForExitAsync(token);
        Assert.That(xfn.ExitCode, Is.Zero);
    }

    [Test]
    public async Task What_was_pulled_is_listed_and_pruned(CancellationToken token)
    {
        Digest digest = (await new ImageBuilder().AddProgram(Busybox()).WithArguments("true").WriteToAsync($"oci:{At("pulled")}:v1", cancellationToken: token)).Digest;
        ToolResult pull = await InCacheAsync("pull", token, $"oci:{At("pulled")}:v1");
        Assert.That((pull.ExitCode, pull.Error), Is.EqualTo((0, "")));
        Assert.That(pull.Output, Does.Contain(" downloading ").And.Contain(" done ").And.EndWith($"{digest}\n"));
        string name = $"oci:{At("pulled")}:v1", shown = digest.Hex[..12];
        Assert.That((await InCacheAsync("images", token)).Output, Does.Match($@"\ADIGEST +SIZE +LAST USED  IMAGE\n{shown}  [0-9.]+ [KM]iB  just now   {name}\n\z"));
        Assert.That((await InCacheAsync("inspect", token, shown)).Output, Does.Contain($"name:         {name}\n").And.Contain($"digest:       {digest}\n").And.Contain("command:      true\n").And.Contain("layer:        sha256:"));
        using (var json = JsonDocument.Parse((await InCacheAsync("images", token, "--json")).Output))
            Assert.That(json.RootElement[0].GetProperty("digest").GetString(), Is.EqualTo($"{digest}"));
        using (var json = JsonDocument.Parse((await InCacheAsync("inspect", token, "--json", name)).Output))
        {
            Assert.That(json.RootElement.GetProperty("config").GetProperty("config").GetProperty("Cmd")[0].GetString(), Is.EqualTo("true"));
            Assert.That(json.RootElement.GetProperty("manifest").GetProperty("layers").GetArrayLength(), Is.EqualTo(1));
        }

        Assert.That((await InCacheAsync("prune", token, "--max-size=1Gi", "--max-age", "1h")).Output, Is.EqualTo("Removed 0 images and 0 layers: 0 B freed.\n"));
        Assert.That((await InCacheAsync("prune", token, "--max-size=0")).Output, Does.Match(@"\ARemoved 1 image and 1 layer: [0-9.]+ [KM]iB freed\.\n\z"));
        Assert.That((await InCacheAsync("images", token)).Output.Split('\n'), Has.Length.EqualTo(2));
        await InCacheAsync("pull", token, name);
        Assert.That(await InCacheAsync("rm", token, name, "nowhere"), Is.EqualTo(new ToolResult(125, "", "xfn: error: cannot find image 'nowhere' in the cache. 'xfn images' lists what is there.\n")));
        Assert.That((await InCacheAsync("rm", token, shown)).Output, Does.Match(@"\ARemoved 1 image and 1 layer: [0-9.]+ [KM]iB freed\.\n\z"));
        Assert.That((await InCacheAsync("images", token)).Output.Split('\n'), Has.Length.EqualTo(2));
    }

    [TestCase("prune", "--max-size=much", "cannot parse size 'much'")]
    [TestCase("prune", "--max-age=5", "cannot parse age '5'")]
    public async Task A_limit_that_is_none_is_told(string command, string option, string message, CancellationToken token) =>
        Assert.That((await InCacheAsync(command, token, option)).Error, Does.StartWith("xfn: error: " + message));

    [Test]
    public async Task Doctor_says_what_a_run_would_fail_for(CancellationToken token)
    {
        ToolResult well = await InCacheAsync("doctor", token);
        Assert.That((well.ExitCode, well.Error), Is.EqualTo((0, "")));
        Assert.That(well.Output, Does.StartWith("ok       platform "));
        ToolResult ill = await Tool.RunAsync(Xfn, ["doctor", "--cache-dir", "/proc/nowhere"], token);
        Assert.That(ill.ExitCode, Is.EqualTo(1));
        Assert.That(ill.Output, Does.Match(@"\nfailed   disk space  +[^\n]+\n         wanted: [^\n]+\n         remedy: [^\n]*--cache-dir"));
        ToolResult json = await Tool.RunAsync(Xfn, ["doctor", "--json", "--cache-dir", "/proc/nowhere"], token);
        using var report = JsonDocument.Parse(json.Output);
        Assert.That((json.ExitCode, report.RootElement.GetProperty("canRun").GetBoolean()), Is.EqualTo((1, false)));
        Assert.That(report.RootElement.GetProperty("checks").EnumerateArray().Where(check => check.GetProperty("status").GetString() == "failed").Select(check => check.GetProperty("name").GetString()), Does.Contain("disk space"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_has_the_arguments_variables_and_mounts_that_it_is_given(CancellationToken token)
    {
        await File.WriteAllTextAsync(At("file"), "of the machine\n", token);
        File.SetUnixFileMode(At("file"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        ToolResult said = await Tool.RunAsync(
            Xfn, ["run", "--cache-dir", At("cache"), "--entrypoint=/app/busybox", "-eA=1", "-v", $"{At("file")}:/data:ro", "-w/work", Function("exit 3"), "--", "sh", "-c", "cat; cat /data; echo $A $1; pwd", "sh", "arg"], token, "unread");
        Assert.That(said.ExitCode, Is.Zero, said.Error);
        Assert.That(said.Output, Is.EqualTo("of the machine\n1 arg\n/work\n"));
    }

    /// <summary>How many bytes a process has written so far, wherever to.</summary>
    private static long Written(Process process) =>
        long.Parse(File.ReadLines($"/proc/{process.Id}/io").First(l => l.StartsWith("wchar: ", StringComparison.Ordinal))[7..], CultureInfo.InvariantCulture);

    private Task<ToolResult> InCacheAsync(string command, CancellationToken token, params string[] options) => Tool.RunAsync(Xfn, [command, "--cache-dir", At("own-cache"), .. options], token);

    private string At(string name) => Path.Combine(_directory, name);

    private Task<ToolResult> RunAsync(string script, string stdin, CancellationToken token, params string[] options) =>
        Tool.RunAsync(Xfn, ["run", "--cache-dir", At("cache"), .. options, Function(script), "-"], token, stdin);

    private string Busybox()
    {
        string program = At("published/busybox");
        if (!File.Exists(program))
        {
            Directory.CreateDirectory(At("published"));
            File.Copy("/bin/busybox", program);
        }

        return program;
    }

    private Process StartFunction(string script, params string[] options) => Tool.Start(Xfn, ["run", "--cache-dir", At("cache"), .. options, Function(script), "-"]);

    private string Function(string script)
    {
        // Busybox without its applets' links finds them by name.
        return $"oci:{At("layout")}@{new ImageBuilder().AddProgram(Busybox()).WithArguments("sh", "-c", script).WriteToAsync($"oci:{At("layout")}:v1").GetAwaiter().GetResult().Digest}";
    }

    private static string Xfn => Path.Combine(AppContext.BaseDirectory, "xfn");

    /// <summary>A shell's command line, in which $0 is xfn.</summary>
    private static Task<ToolResult> ShellAsync(string command, CancellationToken token, string stdin = "") => Tool.RunAsync("/bin/sh", ["-c", command, Xfn], token, stdin);
}
