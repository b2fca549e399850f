using System.Diagnostics;

namespace Xfn.Core.EndToEnd.Tests;

internal sealed class PreparedTests : RunnerFixture
{
    /// <summary>What a process sees of its start, but for time, memory, what is numbered by namespace, and what its user
    /// has elsewhere.</summary>
    private const string Introspection = """
        cd /proc/self
        tr '\0' '\n' <cmdline; echo --; tr '\0' '\n' </proc/1/cmdline; echo --; tr '\0' '\n' </proc/1/environ; echo --; readlink /proc/1/exe /proc/1/cwd
        for fd in /proc/1/fd/*; do to=$(readlink $fd) && echo "${fd##*/} $to"; done | tr -d '0123456789[]'
        while read name value; do case $name in VmPeak:|VmSize:|VmHWM:|VmRSS:|Vm*|Rss*|*ctxt*|Mems_allowed*|SigQ:|Cpus*|HugetlbPages:) ;; *) echo "$name $value";; esac; done </proc/1/status
        cat /proc/1/limits /proc/1/oom_score_adj /proc/1/coredump_filter /proc/1/setgroups /proc/1/uid_map /proc/1/comm /proc/1/personality 2>&1
        umask; ulimit -a; id; pwd; for name in /proc/[a-z]*; do echo $name; done
        """;

    [Test, CancelAfter(60_000)]
    public async Task A_prepared_function_answers_like_an_ordinary_one(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        await using PreparedFunction function = await runner.PrepareAsync(new RunFunctionRequest { Image = Write(TestImage.Command("cat")) }, cancellationToken: token);
        Assert.That(function.ReadyCount, Is.EqualTo(1));
        var input = new byte[3 << 20];
        new Random(7).NextBytes(input);

        RunFunctionResponse response = await function.RunAsync(input, token);

        Assert.That(response.Output.Span.SequenceEqual(input));
        Assert.That(response.Statistics, Has.Property(nameof(RunStatistics.Prepared)).True);
        Assert.That(response.Statistics.ImageDigest.IsEmpty, Is.False);
    }

    [TestCase(null)]
    [TestCase("1000:1001")]
    [CancelAfter(60_000)]
    public async Task A_function_cannot_tell_that_it_was_prepared(string? user, CancellationToken token)
    {
        if (user is not null && !Ways.HasManyIds)
            Assert.Ignore("only one id is mapped here: there is no other user");
        TestImage image = TestImage.Shell(Introspection);
        image.Config = image.Config with
        {
            User = user,
            WorkingDir = "/work/here",
            Env = ["A=1", "EMPTY=", "PATH=/nowhere:/bin", "DOTNET_GCHeapHardLimit=1", "A=2", "Z=ünï=x"],
            Cmd = ["zero", "", "two words"],
        };
        TestRunner runner = NewRunner();
        var request = new RunFunctionRequest { Image = Write(image) };
        await using PreparedFunction function = await runner.PrepareAsync(request, cancellationToken: token);

        RunFunctionResponse ordinary = await runner.RunFunctionAsync(request, token);
        RunFunctionResponse prepared = await function.RunAsync(cancellationToken: token);

        Assert.That((ordinary.Statistics.Prepared, prepared.Statistics.Prepared), Is.EqualTo((false, true)));
        Assert.That(Text(prepared.Output), Is.EqualTo(Text(ordinary.Output)));
        Assert.That(prepared.StderrTail, Is.EqualTo(ordinary.StderrTail));
        Assert.That(Text(ordinary.Output), Does.Contain("A=2\n").And.Contain("two words\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Each_container_serves_one_run_and_another_is_made_behind_it(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        await using PreparedFunction function = await runner.PrepareAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("touch /tmp/was-here 2>/dev/null; ls /tmp | wc -l; cat")) }, new PrepareOptions { Count = 3 }, token);
        for (int i = 0; i < 10; i++)
        {
            await WaitUntilAsync(() => function.ReadyCount == 3, token);
            RunFunctionResponse response = await function.RunAsync(new[] { (byte)('a' + i) }, token);
            Assert.That(response.Statistics.Prepared);
            Assert.That(Text(response.Output).Replace("\n", ""), Is.EqualTo($"1{(char)('a' + i)}"));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task More_runs_than_containers_are_ordinary_runs(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 8);
        await using PreparedFunction function = await runner.PrepareAsync(
            new RunFunctionRequest { Image = Write(TestImage.Command("cat")) }, new PrepareOptions { Count = 2 }, token);

        RunFunctionResponse[] responses = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => function.RunAsync(new[] { (byte)i }, token)));

        Assert.That(responses.Select(r => (int)r.Output.Span[0]), Is.EqualTo(Enumerable.Range(0, 20)));
        Assert.That(responses.Count(r => r.Statistics.Prepared), Is.InRange(2, 19));
    }

    [Test, CancelAfter(60_000)]
    public async Task Failures_are_those_of_an_ordinary_run(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxStdioBytes = 100_000);
        string image = Write(TestImage.Shell("read what; echo $what >&2; case $what in exit) exit 3;; signal) kill -9 $$;; flood) yes;; sleep) sleep 60;; esac"));
        var limit = TimeSpan.FromMilliseconds(700);
        await using PreparedFunction function = await runner.PrepareAsync(new RunFunctionRequest { Image = image }, new PrepareOptions { Count = 3 }, token);
        await using PreparedFunction limited = await runner.PrepareAsync(new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = limit } }, cancellationToken: token);
        // That its container waited for longer than that is nothing to the run.
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < limit;)
            await Task.Delay(10, token);

        var exited = (await Assert.ThrowsAsync<FunctionExitedException>(() => function.RunAsync("exit\n"u8.ToArray(), token)))!;
        Assert.That((exited.ExitCode, exited.StderrTail, exited.Statistics.Prepared), Is.EqualTo((3, "exit\n", true)));
        await Assert.ThrowsAsync<OutputLimitExceededException>(() => function.RunAsync("flood\n"u8.ToArray(), token));
        var timedOut = (await Assert.ThrowsAsync<FunctionTimedOutException>(() => limited.RunAsync("sleep\n"u8.ToArray(), token)))!;
        Assert.That(timedOut.Statistics.Run, Is.GreaterThan(TimeSpan.FromMilliseconds(600)), "the timeout began before the run");
        using var cancelled = CancellationTokenSource.CreateLinkedTokenSource(token);
        cancelled.CancelAfter(300);
        await Assert.CatchAsync<OperationCanceledException>(() => function.RunAsync("sleep\n"u8.ToArray(), cancelled.Token));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_cannot_be_executed_is_told_when_it_is_prepared(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        var absent = (await Assert.ThrowsAsync<InvalidImageException>(() => runner.PrepareAsync(new RunFunctionRequest { Image = Write(TestImage.Command("/bin/absent")) }, cancellationToken: token)))!;
        Assert.That(absent.Message, Does.Contain("/bin/absent").And.Contain("No such file"));
        var unknown = (await Assert.ThrowsAsync<InvalidImageException>(() => runner.PrepareAsync(new RunFunctionRequest { Image = Write(TestImage.Command("absent"), "2") }, cancellationToken: token)))!;
        Assert.That(unknown.Message, Does.Contain("absent").And.Contain("No such file"));
        var input = new RunFunctionRequest { Image = Write(TestImage.Command("cat"), "3"), Input = "x"u8.ToArray() };
        await Assert.ThrowsAsync<InvalidRequestException>(() => runner.PrepareAsync(input, cancellationToken: token));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => runner.PrepareAsync(input with { Input = default }, new PrepareOptions { Count = 0 }, cancellationToken: token));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_cannot_be_executed_after_all_is_told_by_the_run(CancellationToken token)
    {
        // Executable by its mode, but no program.
        TestImage image = new TestImage { Config = new() { Entrypoint = ["/bin/script"] } }.WithBusybox()
            .WithLayer(tar => tar.File("bin/script", "#!/bin/absent\n", (UnixFileMode)0b111_101_101));
        await using PreparedFunction function = await NewRunner().PrepareAsync(new RunFunctionRequest { Image = Write(image) }, cancellationToken: token);
        var error = (await Assert.ThrowsAsync<InvalidImageException>(() => function.RunAsync(cancellationToken: token)))!;
        Assert.That(error.Message, Does.Contain("/bin/script").And.Contain("No such file"));
        Assert.That(error.Stage, Is.EqualTo(RunStage.Start));
    }

    [Test, CancelAfter(60_000)]
    public async Task Containers_of_an_image_that_has_been_replaced_serve_no_run(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string reference = Write(TestImage.Shell("echo old"));
        await using PreparedFunction function = await runner.PrepareAsync(new RunFunctionRequest { Image = reference }, new PrepareOptions { Count = 2 }, token);
        Write(TestImage.Shell("echo new"));

        RunFunctionResponse first = await function.RunAsync(cancellationToken: token);
        Assert.That((Text(first.Output), first.Statistics.Prepared), Is.EqualTo(("new\n", false)));

        await WaitUntilAsync(() => function.ReadyCount == 2, token);
        RunFunctionResponse second = await function.RunAsync(cancellationToken: token);
        Assert.That((Text(second.Output), second.Statistics.Prepared), Is.EqualTo(("new\n", true)));
    }

    [Test, CancelAfter(60_000)]
    public async Task Containers_that_were_killed_while_they_waited_cost_no_run(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        await using PreparedFunction function = await runner.PrepareAsync(
            new RunFunctionRequest { Image = Write(TestImage.Command("cat")) }, new PrepareOptions { Count = 2 }, token);
        foreach (int pid in Gates())
            Process.GetProcessById(pid).Kill();
        RunFunctionResponse response = await function.RunAsync("still"u8.ToArray(), token);
        Assert.That(Text(response.Output), Is.EqualTo("still"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Containers_end_when_no_run_comes_and_with_the_function_and_with_the_runner(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        var request = new RunFunctionRequest { Image = Write(TestImage.Command("cat")) };
        PreparedFunction idle = await runner.PrepareAsync(request, new PrepareOptions { Count = 2, IdleTime = TimeSpan.FromMilliseconds(200) }, token);
        await WaitUntilAsync(() => idle.ReadyCount == 0 && Gates().Count == 0, token);
        Assert.That((await idle.RunAsync("x"u8.ToArray(), token)).Statistics.Prepared, Is.False);

        PreparedFunction disposed = await runner.PrepareAsync(request, cancellationToken: token);
        await disposed.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => disposed.RunAsync(cancellationToken: token));

        PreparedFunction left = await runner.PrepareAsync(request, cancellationToken: token);
        await runner.DisposeAsync();
        Assert.That(Gates(), Is.Empty);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => left.RunAsync(cancellationToken: token));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_counted_begins_with_the_run(CancellationToken token)
    {
        await using PreparedFunction function = await NewRunner().PrepareAsync(new RunFunctionRequest { Image = Write(TestImage.Command("true")) }, cancellationToken: token);
        RunFunctionResponse response = await function.RunAsync(cancellationToken: token);
        Assert.That(response.Statistics.CpuTime, Is.GreaterThan(TimeSpan.Zero).And.LessThan(response.Statistics.Total * Environment.ProcessorCount));
        Assert.That(response.Statistics.PeakMemoryBytes, Is.GreaterThan(0));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_container_that_waits_has_one_thread_and_next_to_no_memory(CancellationToken token)
    {
        await using PreparedFunction function = await NewRunner().PrepareAsync(new RunFunctionRequest { Image = Write(TestImage.Command("true")) }, cancellationToken: token);
        string status = await File.ReadAllTextAsync($"/proc/{Gates().Single()}/status", token);
        Assert.That(status, Does.Match(@"Threads:\t1\n").And.Match(@"VmRSS:\s+\d{1,2} kB\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Long_arguments_and_a_large_environment_reach_a_prepared_function(CancellationToken token)
    {
        TestImage image = TestImage.Shell("echo $# ${#1} ${#A} ${#I} $Z");
        image.Config = image.Config with { Env = [.. "ABCDEFGHI".Select(name => $"{name}={new string(name, 100_000)}"), "Z=end"], Cmd = ["zero", new string('x', 100_000)] };
        await using PreparedFunction function = await NewRunner().PrepareAsync(new RunFunctionRequest { Image = Write(image) }, cancellationToken: token);
        RunFunctionResponse response = await function.RunAsync(cancellationToken: token);
        Assert.That((Text(response.Output), response.Statistics.Prepared), Is.EqualTo(("1 100000 100000 100000 end\n", true)));
    }

    private static List<int> Gates() => [.. Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(name => int.TryParse(name, out _)).Select(int.Parse!).Where(IsGate)];

    private static bool IsGate(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline").StartsWith("xfn-gate\0", StringComparison.Ordinal) && IsOfThisProcess(pid);
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static bool IsOfThisProcess(int pid)
    {
        for (int at = pid; at > 1;)
        {
            string stat = File.ReadAllText($"/proc/{at}/stat");
            at = int.Parse(stat[(stat.LastIndexOf(')') + 4)..].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);
            if (at == Environment.ProcessId)
                return true;
        }

        return false;
    }

    private static async Task WaitUntilAsync(Func<bool> condition, CancellationToken token)
    {
        while (!condition())
            await Task.Delay(10, token);
    }
}
