using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Hosts with a masked /proc, as in a container: the kernel refuses functions one of their own.</summary>
internal sealed class OuterProcTests : RunnerFixture
{
    private const string Mask = "mount --make-rprivate / && mount --bind /dev/null /proc/interrupts && mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";

    [Test, CancelAfter(60_000)]
    public async Task A_masked_proc_is_refused_with_the_remedy(CancellationToken token)
    {
        ToolResult result = await RunMaskedAsync(TestImage.Shell("echo ran"), [], token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((125, "")), result.Error);
        Assert.That(result.Error, Does.Contain("/proc is masked").And.Contain("procMount: Unmasked").And.Contain("--outer-proc"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_masked_proc_is_shown_read_only_when_that_is_asked_for(CancellationToken token)
    {
        string here = $"/proc/{Environment.ProcessId}";
        TestImage image = TestImage.Shell(
            $"echo $$; cat {here}/stat | head -c 3 >/dev/null && echo seen; cat {here}/environ {here}/maps 2>/dev/null || echo closed; ls {here}/fd {here}/root/ >/dev/null 2>&1 || echo closed;"
            + "echo 500 2>/dev/null >/proc/self/oom_score_adj || echo unwritten; kill -0 " + Environment.ProcessId + " 2>/dev/null || echo unreached; cat /dev/stdin; cat /proc/interrupts")
            .WithLayer(tar => tar.Directory("etc").File("etc/passwd", "root:x:0:0::/:/bin/sh\n"));
        image.Config = image.Config with { User = "root" };
        ToolResult result = await RunMaskedAsync(image, ["--outer-proc"], token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, "1\nseen\nclosed\nclosed\nunwritten\nunreached\n")), result.Error);
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_mounted_below_the_outer_proc_is_read_only_too(CancellationToken token)
    {
        ToolResult result = await HostProcess.RunUnderAsync(
            $"{Mask} && mount -t tmpfs -o mode=1777 tmpfs /proc/tty && echo here >/proc/tty/file && chmod 666 /proc/tty/file",
            [
                HostProcess.Xfn, "run", "--cache-dir", Cache, "--outer-proc",
                Write(TestImage.Shell("cat /proc/tty/file; (echo changed >/proc/tty/file) 2>/dev/null || echo kept; touch /proc/tty/new 2>/dev/null || echo kept")), "/dev/null",
            ],
            token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, "here\nkept\nkept\n")), result.Error);
    }

    [Test, CancelAfter(60_000)]
    public async Task Under_a_masked_proc_a_failing_function_is_told_from_one_that_cannot_start(CancellationToken token)
    {
        ToolResult failed = await RunMaskedAsync(TestImage.Shell("exit 7"), ["--outer-proc"], token);
        Assert.That(failed.ExitCode, Is.EqualTo(7), failed.Error);
        ToolResult missing = await RunMaskedAsync(
            TestImage.Command("/script").WithLayer(tar => tar.File("script", "#!/no/such/interpreter\n", (UnixFileMode)0b111_101_101)), ["--outer-proc"], token);
        Assert.That(missing.ExitCode, Is.EqualTo(125), missing.Error);
        Assert.That(missing.Error, Does.Contain("/script").And.Contain("entrypoint"));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_check_of_the_machine_says_the_same_of_a_masked_proc(CancellationToken token)
    {
        ToolResult refused = await RunUnderMaskAsync(["doctor", "--cache-dir", Cache], token);
        Assert.That(refused.ExitCode, Is.EqualTo(1), refused.Error);
        Assert.That(refused.Output, Does.Match("(?m)^failed +/proc +.*/proc is masked").And.Match("(?m)^ +remedy: .*--outer-proc"));

        ToolResult accepted = await RunUnderMaskAsync(["doctor", "--cache-dir", Cache, "--outer-proc"], token);
        Assert.That(accepted.Output, Does.Match("(?m)^warning +/proc "));
    }

    [Test, CancelAfter(60_000)]
    public async Task Where_a_fresh_proc_is_allowed_the_outer_one_is_not_shown_although_it_may_be(CancellationToken token)
    {
        string here = $"/proc/{Environment.ProcessId}";
        RunFunctionResponse response = await RunShellAsync($"echo $$; ls -d {here} 2>/dev/null || echo unseen; ls -d /proc/self", configure: o => o.Bundle = new() { OuterProc = true }, token: token);
        Assert.That(Text(response.Output), Is.EqualTo("1\nunseen\n/proc/self\n"));
    }

    private Task<ToolResult> RunMaskedAsync(TestImage image, string[] options, CancellationToken token) =>
        RunUnderMaskAsync(["run", "--cache-dir", Cache, .. options, Write(image, $"image{Random.Shared.Next()}"), "/dev/null"], token);

    private static Task<ToolResult> RunUnderMaskAsync(string[] arguments, CancellationToken token) => HostProcess.RunUnderAsync(Mask, [HostProcess.Xfn, .. arguments], token);
}
