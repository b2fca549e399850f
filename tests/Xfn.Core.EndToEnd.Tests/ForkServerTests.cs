using System.Globalization;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Namespaces;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>The process that makes sparks by copies of itself: what it may do, what its sparks are, who reaches it, and
/// what its end is to them.</summary>
internal sealed class ForkServerTests : ContainerFixture
{
    private const string Cat = "echo begun >&2; exec cat";

    /// <summary>Root with two capabilities may not map its own id, without which there is no such process.</summary>
    private static bool IsRefused => ContainerRunner.HasCapSetUID() && !Ways.HasCapability(31);

    [Test, CancelAfter(60_000)]
    public async Task From_the_second_run_on_one_process_makes_the_sparks_and_ends_with_the_runner(CancellationToken token)
    {
        SkipRefused();
        TestRunner runner = NewRunner(o => (o.NamespaceSpawner, o.ForkSparks) = (null, true));
        var request = new RunFunctionRequest { Image = Write(TestImage.Shell(Cat)), Input = "hello"u8.ToArray() };
        await runner.RunFunctionAsync(request, token);
        Assert.That(Servers(), Is.Empty);
        while (!Servers().Any(HasCopies))
            Assert.That(Text((await runner.RunFunctionAsync(request, token)).Output), Is.EqualTo("hello"));
        int server = Servers().Single();
        for (int i = 0; i < 3; i++)
            Assert.That(Text((await runner.RunFunctionAsync(request, token)).Output), Is.EqualTo("hello"));
        Assert.That(Servers(), Is.EqualTo((int[])[server]));
        await runner.DisposeAsync();
        Assert.That(Servers(), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task It_stays_until_its_last_copy_has_ended(CancellationToken token)
    {
        SkipRefused();
        // Nobody else would reap that one where the runner is the first process of a machine or a container.
        ForkingSpawner spawner = Forking();
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = spawner);
        Task end;
        await using (RunningContainer container = await runner.StartAsync(new ContainerRequest { Image = Write(TestImage.Shell("exec sleep 1000")), Ready = Ready.Started }, token))
        {
            int server = Servers().Single();
            end = spawner.DisposeAsync().AsTask();
            Assert.That((await container.ExecAsync(["echo", "hello"], cancellationToken: token)).Stdout, Is.EqualTo("hello\n"));
            Assert.That((Servers(), end.IsCompleted), Is.EqualTo(((int[])[server], false)));
        }

        await runner.DisposeAsync();
        await end.WaitAsync(token);
        Assert.That(Servers(), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task It_has_three_capabilities_in_a_user_namespace_of_its_own(CancellationToken token)
    {
        SkipRefused();
        await NewRunner(o => o.NamespaceSpawner = Forking()).RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Shell(Cat)) }, token);
        int server = Servers().Single();
        Assert.Multiple(() =>
        {
            // Each thread has its own.
            foreach (string thread in Directory.GetDirectories($"/proc/{server}/task"))
            {
                string[] status = File.ReadAllLines($"{thread}/status");
                foreach (string set in (string[])["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"])
                    Assert.That(status.Single(line => line.StartsWith(set, StringComparison.Ordinal))[7..].Trim(), Is.EqualTo("00000000800000c0"), set);
            }

            Assert.That(NamespaceOf(server, "user"), Is.Not.EqualTo(NamespaceOf(Environment.ProcessId, "user")));
            foreach (string kind in (string[])["mnt", "pid", "net", "ipc", "uts", "cgroup"])
                Assert.That(NamespaceOf(server, kind), Is.EqualTo(NamespaceOf(Environment.ProcessId, kind)), kind);
            Assert.That(new FileInfo($"/proc/{server}/exe").LinkTarget, Does.StartWith("/memfd:xfn-spark"));
            Assert.That(new FileInfo($"/proc/{server}/cwd").LinkTarget, Is.EqualTo("/"));
            Assert.That(File.ReadAllText($"/proc/{server}/environ").TrimEnd('\0'), Is.EqualTo("PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
        });
    }

    [Test, CancelAfter(60_000)]
    public async Task A_spark_that_is_a_copy_keeps_the_contract_of_spawners(CancellationToken token)
    {
        SkipRefused();
        string path = Path.Combine(AppContext.BaseDirectory, "runtimes", Processor, "native", "xfn-spark");
        using var executable = new SparkFile(File.OpenRead(path), path);
        IdMapping mapping = RunnerSettings.From(new ContainerRunnerOptions().WithCacheDir(Cache)).Mapping;
        ForkingSpawner spawner = Forking();
        await using SparkProcess one = await SparkProcess.StartAsync(spawner, executable, SparkMode.Run, Scratch, mapping, token);
        await using SparkProcess other = await SparkProcess.StartAsync(spawner, executable, SparkMode.Run, Scratch, mapping, token);
        int id = one.ProcessId, otherId = other.ProcessId, server = Servers().Single();
        string[] status = File.ReadAllLines($"/proc/{id}/status");
        string Status(string name) => status.Single(line => line.StartsWith(name, StringComparison.Ordinal))[name.Length..].Trim();
        Assert.Multiple(() =>
        {
            Assert.That(Status("NSpid:").Split('\t'), Is.EqualTo((string[])[$"{id}", "1"]));
            Assert.That(Status("CapEff:"), Is.EqualTo($"{(1UL << (int.Parse(File.ReadAllText("/proc/sys/kernel/cap_last_cap"), CultureInfo.InvariantCulture) + 1)) - 1:x16}"));
            Assert.That(Status("SigBlk:"), Is.EqualTo(new string('0', 16)));

            // The .NET runtime of each program ignores SIGPIPE.
            Assert.That(Status("SigIgn:"), Is.EqualTo("0000000000001000"));
            Assert.That(Status("PPid:"), Is.EqualTo($"{server}"));
            Assert.That(new FileInfo($"/proc/{id}/cwd").LinkTarget, Is.EqualTo(Scratch));
            Assert.That(File.ReadAllText($"/proc/{id}/environ").TrimEnd('\0'), Is.EqualTo("PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
            Assert.That(File.ReadAllText($"/proc/{id}/mountinfo"), Does.Not.Contain(" shared:").And.Not.Contain(" master:"));
            Assert.That(Words($"/proc/{id}/uid_map"), Is.EqualTo(mapping.Uids.Select(r => $"{r.Inside} {r.Outside} {r.Count}")));
            Assert.That(Words($"/proc/{id}/gid_map"), Is.EqualTo(mapping.Gids.Select(r => $"{r.Inside} {r.Outside} {r.Count}")));
            foreach (string kind in (string[])["user", "mnt", "pid"])
                Assert.That(NamespaceOf(id, kind), Is.Not.EqualTo(NamespaceOf(Environment.ProcessId, kind)).And.Not.EqualTo(NamespaceOf(server, kind)), kind);
            foreach (string kind in (string[])["net", "ipc", "uts", "cgroup"])
                Assert.That(NamespaceOf(id, kind), Is.EqualTo(NamespaceOf(Environment.ProcessId, kind)), kind);

            // What two have in common they have from the one that made them, which has nothing of theirs.
            Assert.That(DescriptorsOf(id).Intersect(DescriptorsOf(otherId)), Is.SubsetOf(DescriptorsOf(server)));
            Assert.That(DescriptorsOf(server), Has.None.AnyOf([.. Enumerable.Range(0, 3).Select(number => new FileInfo($"/proc/{id}/fd/{number}").LinkTarget)]));
            Assert.That(new FileInfo($"/proc/{server}/fd/0").LinkTarget, Does.StartWith("socket:").And.Not.AnyOf([.. DescriptorsOf(id)]));
        });

        // One ends by the end of its stdin, the other by a kill; what made them does not mind.
        await one.Input.DisposeAsync();
        await one.Ended.WaitAsync(token);
        other.Kill();
        await other.Ended.WaitAsync(token);
        Assert.That(Directory.Exists($"/proc/{id}") || Directory.Exists($"/proc/{otherId}"), Is.False);
        Assert.That(Servers(), Is.EqualTo((int[])[server]));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_reaches_neither_it_nor_what_it_is_executed_from(CancellationToken token)
    {
        SkipRefused();
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = Forking());
        string cat = Write(TestImage.Shell(Cat), "cat");
        await runner.RunFunctionAsync(new RunFunctionRequest { Image = cat }, token);
        int server = Servers().Single();
        string before = await HashAsync();

        // /self executes what made it: its file is the function's own executable then.
        TestImage image = TestImage.Command("/evil")
            .WithLayer(tar => tar.File("self", "#!/proc/self/exe\n", (UnixFileMode)0b111_101_101))
            .WithLayer(tar => tar.File("evil", $$"""
                #!/bin/sh
                busybox sleep 60 | /self & sleep 0.2
                for f in /proc/[0-9]*/exe; do
                  busybox chmod 0 $f; busybox chmod 111 $f; busybox truncate -s 0 $f; echo x >$f
                done
                for pid in {{server}} {{Environment.ProcessId}}; do
                  kill -9 $pid; ls /proc/$pid; cat /proc/$pid/mem; echo x >/proc/$pid/oom_score_adj
                done
                kill -9 -1
                """, (UnixFileMode)0b111_101_101));
        try
        {
            await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(image, "evil"), RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(20) } }, token);
        }
        catch (XfnException)
        {
            // Whether the function ends well is its own affair.
        }

        Assert.That(Servers(), Is.EqualTo((int[])[server]));
        Assert.That(await HashAsync(), Is.EqualTo(before));
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = cat, Input = "hello"u8.ToArray() }, token)).Output), Is.EqualTo("hello"));

        async Task<string> HashAsync()
        {
            await using FileStream file = File.OpenRead($"/proc/{server}/exe");
            return Convert.ToHexString(await System.Security.Cryptography.SHA256.HashDataAsync(file, token));
        }
    }

    [Test, CancelAfter(120_000)]
    public async Task Runs_complete_while_it_is_killed_again_and_again(CancellationToken token)
    {
        SkipRefused();
        // As ordinarily: while there is none, sparks are made as the first one.
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = Forking(all: false));
        string image = Write(TestImage.Shell(Cat));
        int kills = 0, wanted = LongMode.Rounds(5);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(LongMode.Limit(token));
        Task[] loops = [.. Enumerable.Range(0, 4).Select(_ => RunAsync())];
        var random = new Random(LongMode.Seed);
        var seen = new HashSet<int>();
        while (kills < wanted && !loops.Any(loop => loop.IsCompleted))
        {
            await Task.Delay(random.Next(50), ending.Token);
            // Not at the first look: that may be its copy on trial, and after three starts that fail there is no more.
            foreach (int server in Servers().Where(server => HasCopies(server) && !seen.Add(server)))
            {
                Signals.Send(server, Signals.Kill);
                Interlocked.Increment(ref kills);
            }
        }

        await Task.WhenAll(loops);

        async Task RunAsync()
        {
            try
            {
                for (int i = 0; Volatile.Read(ref kills) < wanted; i++)
                    Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = Encoding.UTF8.GetBytes($"{i}") }, ending.Token)).Output), Is.EqualTo($"{i}"));
            }
            catch
            {
                await ending.CancelAsync();
                throw;
            }
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Its_end_is_no_end_of_what_runs(CancellationToken token)
    {
        SkipRefused();
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = Forking());
        await using RunningContainer container = await runner.StartAsync(new ContainerRequest { Image = Write(TestImage.Shell("exec sleep 1000")), Ready = Ready.Started }, token);
        foreach (int server in Servers())
            Signals.Send(server, Signals.Kill);
        while (Servers().Length > 0)
            await Task.Delay(1, token);
        Assert.That((await container.ExecAsync(["echo", "hello"], cancellationToken: token)).Stdout, Is.EqualTo("hello\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Where_it_cannot_be_had_one_line_of_the_log_says_so(CancellationToken token)
    {
        var log = new LogCollector();
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = Forking(log: log));
        var request = new RunFunctionRequest { Image = Write(TestImage.Shell(Cat)), Input = "hello"u8.ToArray() };
        for (int i = 0; i < 3; i++)
            Assert.That(Text((await runner.RunFunctionAsync(request, token)).Output), Is.EqualTo("hello"));
        Assert.That(log.Lines.Where(line => line.Contains("Each spark is made by a program of its own", StringComparison.Ordinal)), Has.Exactly(IsRefused ? 1 : 0).Items);
    }

    private static string Processor => $"linux-{System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";

    private static void SkipRefused()
    {
        if (IsRefused)
            Assert.Ignore("Root without CAP_SETFCAP may not map its own id.");
    }

    /// <summary>The children of this process that make sparks.</summary>
    private static int[] Servers() => [.. Directory.GetDirectories("/proc/self/task").SelectMany(Children)
        .Where(id => CommandOf(id).Contains(SparkMode.SpawnRestricted, StringComparison.Ordinal)).Distinct()];

    private static bool HasCopies(int server)
    {
        try
        {
            return Directory.GetDirectories($"/proc/{server}/task").Any(thread => Children(thread).Any());
        }
        catch (IOException)
        {
            // It has ended.
            return false;
        }
    }

    private static IEnumerable<int> Children(string thread)
    {
        try
        {
            return File.ReadAllText($"{thread}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(id => int.Parse(id, CultureInfo.InvariantCulture));
        }
        catch (IOException)
        {
            // The thread has ended.
            return [];
        }
    }

    private static string CommandOf(int id)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline");
        }
        catch (IOException)
        {
            return "";
        }
    }

    private static string? NamespaceOf(int id, string kind) => new FileInfo($"/proc/{id}/ns/{kind}").LinkTarget;

    private static IEnumerable<string> Words(string path) => File.ReadLines(path).Select(line => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries)));

    private static string[] DescriptorsOf(int id) => [.. Directory.GetFiles($"/proc/{id}/fd").Select(path => new FileInfo(path).LinkTarget ?? "")];
}
