using System.Globalization;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A container that lives: started, waited for, read, stopped.</summary>
internal sealed class ContainerTests : ContainerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_container_lives_until_it_is_stopped(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("trap 'echo going; exit 7' TERM; echo up; echo beside >&2; while :; do sleep 0.05; done", Ready.LogLine("^up$"), token);
        Assert.That(container.Exited.IsCompleted, Is.False);

        ContainerExit exit = await container.StopAsync(TimeSpan.FromMinutes(1), token);
        Assert.That(exit, Is.EqualTo(new ContainerExit { ExitCode = 7, EndedBy = ContainerEnd.Stop }));
        Assert.That(await container.Exited, Is.SameAs(exit));
        List<LogLine> lines = await LinesAsync(container, token);
        Assert.That(lines.Where(line => line.Source == LogSource.Stdout).Select(line => line.Text), Is.EqualTo((string[])["up", "going"]));
        Assert.That(lines.Where(line => line.Source == LogSource.Stderr).Select(line => line.Text), Is.EqualTo((string[])["beside"]));
        Assert.That(lines.Select(line => line.LostBefore), Is.All.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_ends_by_itself_says_how(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("echo done; exit 3", Ready.Started, token);
        Assert.That(await container.Exited.WaitAsync(token), Is.EqualTo(new ContainerExit { ExitCode = 3, EndedBy = ContainerEnd.Itself }));
        Assert.That((await LinesAsync(container, token)).Select(line => line.Text), Is.EqualTo((string[])["done"]));
        Assert.That((await container.StopAsync(cancellationToken: token)).EndedBy, Is.EqualTo(ContainerEnd.Itself), "what has ended stays as it is");
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_ignores_its_stop_signal_is_killed_and_that_is_said(CancellationToken token)
    {
        // A handler that does nothing: the grace is waited for. No handler: the kernel would withhold the signal.
        await using RunningContainer stubborn = await StartAsync("trap : TERM; echo up; while :; do sleep 0.05; done", Ready.LogLine("up"), token);
        await using RunningContainer deaf = await StartAsync("exec sleep 1000", Ready.Started, token);
        Assert.That(await stubborn.StopAsync(TimeSpan.FromMilliseconds(300), token), Is.EqualTo(Killed(ignored: true)));
        Assert.That(await deaf.StopAsync(TimeSpan.FromMinutes(10), token), Is.EqualTo(Killed(ignored: true)), "without its grace");

        await using RunningContainer third = await StartAsync("exec sleep 1000", Ready.Started, token);
        Assert.That(await third.StopAsync(TimeSpan.Zero, token), Is.EqualTo(Killed(ignored: false)));

        static ContainerExit Killed(bool ignored) => new() { ExitCode = 137, Signal = 9, EndedBy = ContainerEnd.Stop, IgnoredStopSignal = ignored };
    }

    [Test, CancelAfter(60_000)]
    public async Task The_runner_s_disposal_ends_its_containers(CancellationToken token)
    {
        string image = Write(TestImage.Shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"));
        RunningContainer container = await StartAsync(new ContainerRequest { Image = image, Ready = Ready.LogLine("up"), StopGrace = TimeSpan.FromMinutes(1) }, token);
        await Runner.DisposeAsync();
        Assert.That(await container.Exited.WaitAsync(token), Is.EqualTo(new ContainerExit { ExitCode = 0, EndedBy = ContainerEnd.Disposal }));
        Assert.That((await LinesAsync(container, token)).Select(line => line.Text), Is.EqualTo((string[])["up"]), "the logs can be read afterwards");
        await container.DisposeAsync();
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_ends_before_it_is_ready_fails_its_start_with_the_last_of_its_logs(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<ContainerEndedException>(() => StartAsync("echo first; echo 'no database' >&2; exit 9", Ready.Listens(80), token)))!;
        Assert.That((error.Exit.ExitCode, error.WasReady, error.Stage), Is.EqualTo((9, false, RunStage.Start)));
        Assert.That(error.LogTail.Split('\n'), Is.SupersetOf((string[])["first", "no database"]));
        Assert.That(error.Message, Does.Contain("(listens on port 80) it exited with status 9."));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_is_not_ready_in_time_fails_its_start_and_is_ended(CancellationToken token)
    {
        Ready never = Ready.All(Ready.LogLine("up"), Ready.Any(Ready.Listens(81), Ready.LogLine("never")));
        ContainerNotReadyException error = await Patience.GrowAsync(
            async limit => (await Assert.ThrowsAsync<ContainerNotReadyException>(() => StartAsync("echo up; exec sleep 1000", never.Within(limit), token)))!,
            e => e.Message.Contains("nothing in it listens", StringComparison.Ordinal) && e.LogTail.Length > 0);
        Assert.That(error.Message, Does.Match("after [0-9]+ s it is not ready").And.Contain("nothing in it listens").And.EndWith("Its last line: up"));
        Assert.That(error.LogTail, Is.EqualTo("up\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_start_that_is_cancelled_leaves_nothing(CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task<RunningContainer> start = StartAsync("echo up; exec sleep 1000", Ready.LogLine("never"), source.Token);
        await source.CancelAsync();
        Assert.That((await Assert.CatchAsync<OperationCanceledException>(() => start))!.CancellationToken, Is.EqualTo(source.Token));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_program_that_floods_its_log_never_waits_and_slow_readers_are_told_what_they_missed(CancellationToken token)
    {
        int lines = 200_000 / LongMode.Slowness;
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell($"i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i+1)); done")), LogBytes = 16 << 10 }, token);
        await using IAsyncEnumerator<LogLine> reader = container.ReadLogsAsync(follow: true, token).GetAsyncEnumerator(token);
        Assert.That(await reader.MoveNextAsync(), Is.True);
        Assert.That((await container.Exited.WaitAsync(token)).ExitCode, Is.Zero);

        long next = 0;
        do
        {
            next += reader.Current.LostBefore;
            Assert.That(reader.Current.Text, Is.EqualTo($"{next}"));
            next++;
        }
        while (await reader.MoveNextAsync());

        Assert.That(next, Is.EqualTo(lines));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_program_that_is_spoken_to_by_stdin_and_stdout_lives(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("while read line; do echo \"<$line>\"; done; echo end >&2")), Stdio = ContainerStdio.Piped }, token);
        using var answers = new StreamReader(container.Stdout, leaveOpen: true);
        foreach (string line in (string[])["one", "two"])
        {
            await container.Stdin.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), token);
            Assert.That(await answers.ReadLineAsync(token), Is.EqualTo($"<{line}>"));
        }

        await container.Stdin.DisposeAsync();
        Assert.That((await container.Exited.WaitAsync(token)).ExitCode, Is.Zero);
        Assert.That(await answers.ReadLineAsync(token), Is.Null);
        Assert.That((await LinesAsync(container, token)).Select(line => line.Text), Is.EqualTo((string[])["end"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_whose_spark_is_killed_from_outside_says_so(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("exec sleep 1000", Ready.Started, token);
        Signals.Send(Spark(), Signals.Kill);
        Assert.That(await container.Exited.WaitAsync(token), Is.EqualTo(new ContainerExit { ExitCode = 137, Signal = 9, EndedBy = ContainerEnd.Outside }));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_runs_out_of_memory_is_ended_whole(CancellationToken token)
    {
        await using RunningContainer container = await StartLimitedAsync("tail -c 200m /dev/zero; exec sleep 1000", Ready.Started, token);
        ContainerExit exit = await container.Exited.WaitAsync(token);
        Assert.That((exit.OutOfMemory, exit.EndedBy), Is.EqualTo((true, ContainerEnd.Itself)));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_whose_further_program_runs_out_of_memory_is_ended_whole(CancellationToken token)
    {
        await using RunningContainer container = await StartLimitedAsync("echo up; exec sleep 1000", Ready.LogLine("up"), token);
        try
        {
            // Where the kernel kills one process, this may be told before the others are killed.
            Assert.That((await container.ExecAsync(["tail", "-c", "200m", "/dev/zero"], cancellationToken: token)).Signal, Is.EqualTo(9));
        }
        catch (ContainerEndedException ex)
        {
            Assert.That((ex.Exit.OutOfMemory, ex.WasReady), Is.EqualTo((true, true)));
        }

        ContainerExit exit = await container.Exited.WaitAsync(token);
        Assert.That((exit.OutOfMemory, exit.EndedBy), Is.EqualTo((true, ContainerEnd.Itself)));
        Assert.That((await LinesAsync(container, token)).Select(line => line.Text), Is.EqualTo((string[])["up"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_container_uses_is_told_also_after_its_end(CancellationToken token)
    {
        await using RunningContainer container = await StartLimitedAsync("sleep 1000 & echo up; exec sleep 1000", Ready.LogLine("up"), token);
        await container.ExecAsync(["sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"], cancellationToken: token);
        ContainerStatistics now = container.ReadStatistics();
        await container.StopAsync(TimeSpan.Zero, token);
        ContainerStatistics last = container.ReadStatistics();
        Assert.That((now.MemoryLimitBytes, now.Processes), Is.EqualTo(((long?)32 << 20, (int?)2)));
        Assert.That(now.MemoryBytes, Is.InRange(100_000, 32 << 20));

        // Linux counts it in version 2 since 5.19.
        if (now.PeakMemoryBytes is { } peak)
            Assert.That(peak, Is.InRange(100_000, 32 << 20));

        // Unlike nearly everywhere, cpu and cpuacct may be mounted apart: then nobody counts it.
        if (now.CpuTime is { } used)
            Assert.That(last.CpuTime, Is.GreaterThanOrEqualTo(used).And.GreaterThan(TimeSpan.FromMilliseconds(5)));
        Assert.That((last.MemoryBytes, last.Processes), Is.EqualTo(((long?)null, (int?)null)));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_without_limits_tells_what_it_uses_as_far_as_anybody_counts_it(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("echo up; exec sleep 1000", Ready.LogLine("up"), token);
        ContainerStatistics now = container.ReadStatistics();
        Assert.That((now.MemoryLimitBytes, now.MemoryBytes is null or > 0, now.Processes is null or 1), Is.EqualTo(((long?)null, true, true)), $"{now}");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_prune_leaves_the_layers_of_a_container_that_lives(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("while read line; do ls /bin | wc -l; done")), Stdio = ContainerStdio.Piped }, token);
        Assert.That((await Runner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token)).LayersRemoved, Is.Zero);
        await container.Stdin.WriteAsync("\n"u8.ToArray(), token);
        using var answers = new StreamReader(container.Stdout, leaveOpen: true);
        Assert.That(int.Parse((await answers.ReadLineAsync(token))!, CultureInfo.InvariantCulture), Is.GreaterThan(10));

        await container.DisposeAsync();
        Assert.That((await Runner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token)).LayersRemoved, Is.EqualTo(1));
    }

    /// <summary>Starts a shell script that may use 32 MiB.</summary>
    private async Task<RunningContainer> StartLimitedAsync(string script, Ready ready, CancellationToken token)
    {
        try
        {
            return await StartAsync(new ContainerRequest { Image = Write(TestImage.Shell(script)), Ready = ready, Limits = new() { MemoryBytes = 32 << 20, Cpus = 1 } }, token);
        }
        catch (ContainerEnvironmentException ex) when (!Ways.IsRoot && ex.Message.Contains("cgroup", StringComparison.Ordinal))
        {
            Assert.Ignore("This user may set no limit of memory; LimitTests has what it is told then.");
            throw;
        }
    }

    [Test, CancelAfter(120_000), Category("Long"), Category("soaks")]
    public async Task A_spark_that_is_a_copy_executes_thousands_of_programs_and_does_not_grow(CancellationToken token)
    {
        if (ContainerRunner.HasCapSetUID() && !Ways.HasCapability(31))
            Assert.Ignore("Root without CAP_SETFCAP may not map its own id, so no spark is a copy.");
        token = LongMode.Limit(token);
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = Forking());
        await using RunningContainer container = await runner.StartAsync(new ContainerRequest { Image = Write(TestImage.Command("sleep", "100000"), "sleep") }, token);
        int spark = Spark(), rounds = LongMode.Rounds(2000);
        Assert.That(Read(ParentOf(spark), "cmdline"), Does.Contain("spawn-restricted"));
        long first = 0, last = 0;
        for (int i = 1; i <= rounds; i++)
        {
            // More than what is collected at once, in all.
            string text = $"{i}-{new string('x', 60_000)}";
            Assert.That((await container.ExecAsync(["echo", text], cancellationToken: token)).Stdout, Is.EqualTo($"{text}\n"));
            if (i % (rounds / 10) == 0)
                (first, last) = (first == 0 ? OwnKibibytes(spark) : first, OwnKibibytes(spark));
        }

        await TestContext.Out.WriteLineAsync($"{first} KiB after a tenth, {last} KiB in the end");
        Assert.That(last - first, Is.LessThan(16 << 10));

        static long OwnKibibytes(int id) => long.Parse(Read(id, "status").Split('\n').First(line => line.StartsWith("RssAnon:", StringComparison.Ordinal))["RssAnon:".Length..^"kB".Length], NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
    }

    /// <summary>The one spark with a container that this test's runner has: unshare's child, or a fork
    /// server's.</summary>
    private static int Spark() => Directory.GetDirectories("/proc").Select(directory => int.TryParse(Path.GetFileName(directory), out int id) ? id : 0)
        .Single(id => id > 0 && Read(id, "comm") == "xfn-spark\n" && Read(id, $"task/{id}/children").Length > 0 && ParentOf(ParentOf(id)) == Environment.ProcessId);

    private static int ParentOf(int id) => Read(id, "status").Split('\n').FirstOrDefault(line => line.StartsWith("PPid:", StringComparison.Ordinal)) is { } line
        ? int.Parse(line.AsSpan(5), CultureInfo.InvariantCulture) : 0;

    private static string Read(int id, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/{file}");
        }
        catch (IOException)
        {
            return "";
        }
    }
}

/// <summary>What a runner with an OCI runtime says to who starts a container.</summary>
internal sealed class ContainerRefusalTests : RunnerFixture
{
    [Test, CancelAfter(60_000), Category(Ways.InOne)]
    public async Task Another_runtime_makes_no_containers_that_live(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.Runtime = "crun");
        var error = (await Assert.ThrowsAsync<InvalidRequestException>(() => runner.StartAsync(new ContainerRequest { Image = Write(TestImage.Shell("echo")) }, token)))!;
        Assert.That(error.Message, Does.Contain("'crun'").And.Contain("(option Runtime)"));
    }
}
