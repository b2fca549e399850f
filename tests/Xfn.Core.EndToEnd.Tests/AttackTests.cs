using System.IO.Pipelines;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Interop;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Functions that take what the kernel shares among users, or has once for the whole machine. The program
/// stops by itself where it would do harm (Support/attack.c).</summary>
internal sealed class AttackTests : RunnerFixture
{
    /// <summary>What is taken, where the attacker stops by itself, the most that it may get, the final error.</summary>
    private static readonly (string Name, int Stop, int Most, string Error)[] Shares =
    [
        ("timers", 2000, 512, "EAGAIN"),
        ("inotify", 40, 16, "EMFILE"),
        ("fanotify", 1, 0, "EPERM"),
        ("aio", 1, 0, "ENOSYS"),
        ("locked", 100, 16, "ENOMEM"),
        ("queues", 1, 0, "EMFILE"),
        ("terminals", 80, 64, "ENOSPC"),
        ("keys", 1, 0, "EPERM"),
        ("namespaces", 1, 0, "EPERM"),
        ("filters", 1, 0, "EPERM"),
        ("huge", 1, 0, "EINVAL"),
    ];

    [Test, CancelAfter(120_000)]
    public async Task A_function_gets_its_share_of_what_the_kernel_has_for_all(CancellationToken token)
    {
        Dictionary<string, string> taken = await AttackAsync([.. Shares.Select(s => $"{s.Name}={s.Stop}")], NewRunner(), null, _ => Task.CompletedTask, token);
        Assert.Multiple(() =>
        {
            foreach ((string name, _, int most, string error) in Shares)
            {
                string[] result = taken[name].Split(' ');
                int count = int.Parse(result[0], null);
                Assert.That((count, result[1]), Is.EqualTo((Math.Min(count, most), error)), name);
                Assert.That(count, Is.GreaterThan(most / 2 - 1), name);
            }
        });
    }

    [Test, CancelAfter(120_000)]
    public async Task A_function_watches_no_more_files_than_its_share(CancellationToken token)
    {
        string[] result = (await AttackAsync(["watches=9000"], NewRunner(), null, _ => Task.CompletedTask, token))["watches"].Split(' ');
        Assert.That((int.Parse(result[0], null), result[1]), Is.EqualTo((8192, "ENOSPC")));
    }

    [Test, CancelAfter(120_000)]
    public async Task Other_programs_of_the_runners_user_do_not_suffer_from_a_function_that_takes_all(CancellationToken token)
    {
        // The attacker stops when it has more than is left to the victim. Root gives its rights up; others have none.
        uint user = Environment.IsPrivilegedProcess ? 65534 : Posix.EffectiveUserId;
        ToolResult? victim = null;
        await AttackAsync(
            ["timers=4000", "signals=4000", "inotify=100"], NewRunner(), null, async stop => victim = await Tool.RunAsync(Path.Combine(Scratch, "attack"), ["victim", $"{user}", "2048", "29"], stop), token);
        Assert.That((victim!.ExitCode, victim.Output), Is.EqualTo((0, "signal sent\nworker changed\ninotify made\n")), victim.Error);
    }

    [TestCase("tcp")]
    [TestCase("unix")]
    [CancelAfter(120_000)]
    public async Task What_waits_in_connections_counts_as_the_functions_memory(string kind, CancellationToken token)
    {
        const int piece = 64 << 10, limit = 48 << 20;
        try
        {
            Dictionary<string, string> taken = await AttackAsync([$"{kind}=1600"], NewRunner(), limit, _ => Task.CompletedTask, token);
            Assert.That(long.Parse(taken[kind].Split(' ')[0], null) * piece, Is.LessThan(limit * 5 / 4));
        }
        catch (FunctionExitedException ex)
        {
            Assert.That(ex.OutOfMemory, Is.True, ex.Message);
        }
        catch (ContainerEnvironmentException ex) when (!Ways.IsRoot && ex.Message.Contains("cgroup controller memory", StringComparison.Ordinal))
        {
            Assert.Ignore("This user may set no limit of memory; LimitTests has what it is told then.");
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task The_limit_that_keeps_core_handlers_away_stays_and_who_lowers_it_is_told_that_it_is_done(CancellationToken token)
    {
        const string show = "busybox grep 'core file' /proc/self/limits";
        string[] lines = Text((await RunShellAsync($"{show}; ulimit -c 0 && echo done; {show}; ulimit -c unlimited && echo done; {show}", token: token)).Output).Split('\n');
        Assert.That(lines, Is.EqualTo((string[])[lines[0], "done", lines[0], "done", lines[0], ""]));
        Assert.That(lines[0], Does.Match("^Max core file size  +[01]  +[01] "));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_function_that_crashes_does_not_start_the_machines_crash_handler(CancellationToken token)
    {
        if (Environment.GetEnvironmentVariable("XFN_TEST_CRASHES") is not { } crashes)
        {
            Assert.Ignore("The handler of crashes is the whole machine's: eng/vm-tests.sh sets one on a machine of its own.");
            return;
        }

        // The handler makes a file of the crashed program's name, and the kernel waits for it (core_pipe_limit).
        byte[] program = await TestProgram.BuildAsync("attack", Scratch, token);
        ToolResult host = await Tool.RunAsync(Path.Combine(Scratch, "attack"), ["crash", "host"], token);
        string[] HandledOf(string who) => [.. Directory.GetFiles(crashes, who + "-*").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];
        string[] started = HandledOf("host");
        Assert.That(started, Does.Contain("host-0").And.Contain("host-1").And.Contain("host-2").And.Contain("host-3").And.Contain("host-6"), host.Output);

        TestImage image = TestImage.Command("/attack", "crash", "function").WithLayer(tar => tar.File("attack", program, (UnixFileMode)0b111_101_101));
        string[] lines = Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)).Output).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Multiple(() =>
        {
            Assert.That(lines, Has.Length.EqualTo(8).And.All.EndsWith(" ended"));
            Assert.That(HandledOf("function"), Is.Empty);
        });
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_does_not_put_itself_behind_other_programs_when_memory_is_short(CancellationToken token)
    {
        if (!Ways.HasCapability(24))
            Assert.Ignore("Only a runner with CAP_SYS_RESOURCE sets how far its functions can go back.");
        const string script = "for score in 500 499 0; do (echo $score >/proc/self/oom_score_adj) 2>/dev/null && echo $score; done; true";
        Assert.That(Text((await RunShellAsync(script, token: token)).Output), Is.EqualTo("500\n"));
    }

    /// <summary>Runs an attack, does something else while it holds what it took, and ends it.</summary>
    /// <returns>What it took, and the error that ended that, by name.</returns>
    private async Task<Dictionary<string, string>> AttackAsync(string[] what, TestRunner runner, long? memory, Func<CancellationToken, Task> meanwhile, CancellationToken token)
    {
        byte[] program = await TestProgram.BuildAsync("attack", Scratch, token);
        TestImage image = TestImage.Command(["/attack", .. what]).WithLayer(tar => tar.File("attack", program, (UnixFileMode)0b111_101_101));
        Pipe stdin = new(), stdout = new();
        var request = new RunFunctionRequest
        {
            Image = Write(image, $"attack-{what.Length}"),
            RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(100), Limits = new() { MemoryBytes = memory } },
        };
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task run = RunAsync();
        var taken = new Dictionary<string, string>();
        try
        {
            using var lines = new StreamReader(stdout.Reader.AsStream(), Encoding.UTF8);
            while (await lines.ReadLineAsync(token) is { } line && line != "held")
            {
                string[] parts = line.Split(' ', 2);
                taken[parts[0]] = parts[1];
            }

            if (!run.IsCompleted)
                await meanwhile(token);
            await stdin.Writer.CompleteAsync();
            await run;
        }
        finally
        {
            await stop.CancelAsync();
            await stdin.Writer.CompleteAsync();
            await run.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }

        return taken;

        async Task RunAsync()
        {
            try
            {
                await runner.RunFunctionAsync(request, new FunctionStreams { Stdin = stdin.Reader.AsStream(), Stdout = stdout.Writer.AsStream(), Stderr = Stream.Null }, stop.Token);
            }
            finally
            {
                await stdout.Writer.CompleteAsync();
            }
        }
    }
}
