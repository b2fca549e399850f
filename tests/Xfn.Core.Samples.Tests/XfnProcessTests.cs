using System.Diagnostics;
using ImageWriter;

namespace Xfn.Core.Samples.Tests;

/// <summary>The real <c>xfn</c> with real containers: what only a process has, its streams, its status and its signals.</summary>
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
        using Process process = Environment.IsPrivilegedProcess
            ? Process.Start("rm", remove[1..])
            : Process.Start("unshare", ["--user", "--map-root-user", "--map-auto", .. remove]);
        process.WaitForExit();
    }

    [Test]
    public async Task Stdin_stdout_and_stderr_are_the_functions()
    {
        Finished xfn = await RunAsync("cat; echo to stderr >&2", "from stdin");
        Assert.That(xfn, Is.EqualTo(new Finished(0, "from stdin", "to stderr\n")));
    }

    [Test]
    public async Task The_functions_exit_status_is_xfns()
    {
        Finished xfn = await RunAsync("exit 3");
        Assert.That(xfn.Status, Is.EqualTo(3));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: ").And.Contain("exited with status 3"));
    }

    [Test]
    public async Task A_function_that_does_not_end_is_killed_and_xfn_exits_with_124()
    {
        var took = Stopwatch.StartNew();
        Assert.That((await RunAsync("sleep 60", "", "--timeout=500ms")).Status, Is.EqualTo(124));
        Assert.That(took.Elapsed, Is.LessThan(TimeSpan.FromSeconds(30)));
    }

    [Test]
    public async Task What_xfn_cannot_do_is_125_and_one_line()
    {
        Finished xfn = await WaitAsync(Start("run", "--cache-dir", At("cache"), $"oci:{At("nowhere")}", "-"));
        Assert.That(xfn.Status, Is.EqualTo(125));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: ").And.Contain(At("nowhere")).And.Matches(@"\A[^\n]*\n\z"));
    }

    [TestCase("INT", 130)]
    [TestCase("TERM", 143)]
    public async Task A_signal_ends_the_run(string signal, int status)
    {
        // The input stays open, as a terminal does: xfn must not wait for it.
        using Process xfn = StartFunction("echo started; sleep 60");
        Assert.That(await xfn.StandardOutput.ReadLineAsync(TestContext.CurrentContext.CancellationToken), Is.EqualTo("started"));
        using (Process kill = Process.Start("sh", ["-c", $"kill -{signal} {xfn.Id}"]))
            await kill.WaitForExitAsync();
        await xfn.WaitForExitAsync(TestContext.CurrentContext.CancellationToken);
        Assert.That(xfn.ExitCode, Is.EqualTo(status));
    }

    [Test]
    public async Task A_function_that_reads_nothing_ends_although_stdin_stays_open()
    {
        using Process xfn = StartFunction("echo done");
        Assert.That(await xfn.StandardOutput.ReadToEndAsync(TestContext.CurrentContext.CancellationToken), Is.EqualTo("done\n"));
        await xfn.WaitForExitAsync(TestContext.CurrentContext.CancellationToken);
        Assert.That(xfn.ExitCode, Is.Zero);
    }

    private string At(string name) => Path.Combine(_directory, name);

    private async Task<Finished> RunAsync(string script, string stdin = "", params string[] options)
    {
        Process xfn = StartFunction(script, options);
        await xfn.StandardInput.WriteAsync(stdin);
        return await WaitAsync(xfn);
    }

    private Process StartFunction(string script, params string[] options)
    {
        string program = At("published/busybox");
        if (!File.Exists(program))
        {
            Directory.CreateDirectory(At("published"));
            File.Copy("/bin/busybox", program);
        }

        // Busybox without its applets' links finds them by name.
        Digest digest = new ProgramImage(program) { Arguments = ["sh", "-c", script] }.WriteTo(OciLayout.OpenOrCreate(At("layout")), "v1");
        return Start(["run", "--cache-dir", At("cache"), .. options, $"oci:{At("layout")}@{digest}", "-"]);
    }

    private static Process Start(params string[] arguments) =>
        Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "xfn"), arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

    private static async Task<Finished> WaitAsync(Process xfn)
    {
        using (xfn)
        {
            CancellationToken token = TestContext.CurrentContext.CancellationToken;
            xfn.StandardInput.Close();
            Task<string> error = xfn.StandardError.ReadToEndAsync(token);
            string output = await xfn.StandardOutput.ReadToEndAsync(token);
            await xfn.WaitForExitAsync(token);
            return new Finished(xfn.ExitCode, output, await error);
        }
    }

    private sealed record Finished(int Status, string Output, string Error);
}
