using System.ComponentModel;
using System.Text;
using Xfn.Core.Interop;

namespace Xfn.Core.Tests.Interop;

internal sealed class ChildProcessTests
{
    [Test, CancelAfter(60_000)]
    public async Task What_a_program_reads_and_writes_is_passed_on(CancellationToken token)
    {
        ChildProcess process = Start("cat; echo done", talks: true);
        await using (process.Input!)
            await process.Input!.WriteAsync("hello "u8.ToArray(), token);
        using var output = new StreamReader(process.Output!);
        Assert.That(await output.ReadToEndAsync(token), Is.EqualTo("hello done\n"));
        Assert.That(await process.Ended.WaitAsync(token), Is.Empty);
        Assert.That(process.ExitCode, Is.Zero);
    }

    [TestCase("exit 3", 3)]
    [TestCase("kill -9 $$", 137)]
    [TestCase("cat; echo x; exit 0", 0, Description = "/dev/null is at its end, and takes everything")]
    [CancelAfter(60_000)]
    public async Task How_a_program_ended_is_told(string script, int exitCode, CancellationToken token)
    {
        ChildProcess process = Start("echo why >&2; " + script, talks: false);
        Assert.That(await process.Ended.WaitAsync(token), Is.EqualTo("why"));
        Assert.That(process.ExitCode, Is.EqualTo(exitCode));
        Assert.That(Directory.Exists($"/proc/{process.Id}"), Is.False, "it was not reaped");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_program_has_the_environment_and_the_directory_that_it_was_given_and_none_of_the_callers_files(CancellationToken token)
    {
        using FileStream open = File.OpenRead("/etc/passwd");
        ChildProcess process = ChildProcess.Start("/bin/sh", ["-c", "pwd >&2; echo $E >&2; tr '\\0' '\\n' </proc/self/environ | grep -c . >&2; ls -l /proc/self/fd >&2"], ["E=ü"], "/usr/bin", talks: false);
        string[] said = (await process.Ended.WaitAsync(token)).Split('\n');

        // Some are the shell's own.
        Assert.That(said[0], Is.EqualTo("/usr/bin"));
        Assert.That(said[1], Is.EqualTo("ü"));
        Assert.That(int.Parse(said[2]), Is.LessThanOrEqualTo(4));
        Assert.That(said[3..], Has.Some.Contains("/dev/null").And.None.Contains(open.Name));
    }

    [Test, CancelAfter(60_000)]
    public async Task Signals_that_the_caller_ignores_reach_a_program(CancellationToken token)
    {
        // .NET ignores SIGPIPE.
        ChildProcess process = Start("kill -PIPE $$; echo alive >&2", talks: false);
        Assert.That(await process.Ended.WaitAsync(token), Is.Empty);
        Assert.That(process.ExitCode, Is.EqualTo(128 + 13));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_program_says_at_length_is_cut_off_and_does_not_hold_it_up(CancellationToken token)
    {
        ChildProcess process = Start("yes | head -c 1000000 >&2", talks: false);
        Assert.That(Encoding.UTF8.GetByteCount(await process.Ended.WaitAsync(token)), Is.InRange(60 << 10, 70 << 10));
        Assert.That(process.ExitCode, Is.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_program_can_be_killed_and_one_that_has_ended_is_left_alone(CancellationToken token)
    {
        ChildProcess process = Start("exec sleep 30", talks: true);
        process.Kill();
        await process.Ended.WaitAsync(token);
        Assert.That(process.ExitCode, Is.EqualTo(137));
        process.Kill();
        await process.Input!.DisposeAsync();
        await process.Output!.DisposeAsync();
    }

    [TestCase("/nonexistent", "/")]
    [TestCase("/bin/sh", "/nonexistent")]
    [TestCase("/etc/passwd", "/")]
    public void A_program_that_the_system_does_not_start_is_an_error(string program, string directory) =>
        Assert.That(() => ChildProcess.Start(program, [], [], directory, talks: true), Throws.TypeOf<Win32Exception>());

    private static ChildProcess Start(string script, bool talks) => ChildProcess.Start("/bin/sh", ["-c", script], ["PATH=/usr/bin:/bin"], "/", talks);
}
