using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Namespaces;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Runs in a row, of which a third fail, in each way in turn: 300, or 75 if the user is not root.
/// <c>XFN_FUZZ_FACTOR</c> of 34, or 134, makes more than 10,000 of them.</summary>
internal sealed class SoakTests : RunnerFixture
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(60);

    [Test, CancelAfter(120_000)]
    public async Task Runs_that_end_in_every_way_leave_everything_as_it_was(CancellationToken token)
    {
        token = LongMode.Limit(token);
        Census before = Census.Take(Cache);
        ForkingSpawner forking = Forking(Ways.Forks);
        var spawner = new KillableSpawner(forking);
        TestRunner runner = NewRunner(o => (o.MaxStdioBytes, o.NamespaceSpawner) = (100_000, spawner));
        (string Name, Func<Task> Run)[] kinds = await KindsAsync(runner, spawner, token);
        int rounds = Effort.Rounds(300) / (3 * kinds.Length) + 1;
        string good = Write(TestImage.Command("cat"), "good");
        var counts = new SortedDictionary<string, int>();

        // What every kind takes once, an image in the cache and code compiled, is there from then on.
        await RoundAsync();
        await RoundAsync();
        counts.Clear();
        await runner.PruneAsync(new PruneOptions(), token);
        Census first = Census.Take(Cache);
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < rounds; i++)
            await RoundAsync();
        clock.Stop();
        await runner.PruneAsync(new PruneOptions(), token);
        Census last = Census.Take(Cache);
        // What goes on behind the last answers comes to its end, and other tests' keys go.
        last = await SettleAsync(last, now => now.Processes <= first.Processes + 4 && now.Cgroups <= first.Cgroups + 4 && now.Keys <= first.Keys + 50
            && now.Descriptors <= first.Descriptors + 30 && now.Files == first.Files);
        await runner.DisposeAsync();
        await forking.DisposeAsync();
        Census after = await SettleAsync(Census.Take(Cache), now => now.Processes <= before.Processes && now.Cgroups == 0 && now.Descriptors <= before.Descriptors + 8);

        await TestContext.Out.WriteLineAsync($"{counts.Values.Sum()} runs in {clock.Elapsed.TotalSeconds:0} s: {string.Join(", ", counts.Select(c => $"{c.Value} {c.Key}"))}");
        foreach ((string when, Census census) in new[] { ("before", before), ("warm", first), ("last", last), ("disposed", after) })
            await TestContext.Out.WriteLineAsync($"{when}: {census}");
        Assert.Multiple(() =>
        {
            // Two sparks are ready, or being made.
            Assert.That(last.Processes, Is.LessThanOrEqualTo(first.Processes + 4), "processes");
            Assert.That(last.Mounts, Is.LessThanOrEqualTo(first.Mounts), "mounts");
            Assert.That(last.Descriptors, Is.LessThanOrEqualTo(first.Descriptors + 30), "descriptors");
            Assert.That(last.Cgroups, Is.LessThanOrEqualTo(first.Cgroups + 4), "cgroups");
            Assert.That(last.Keys, Is.LessThanOrEqualTo(first.Keys + 50), "keys, of which other programs of this machine have some");
            Assert.That(last.Files, Is.EqualTo(first.Files), "files");
            Assert.That(last.ManagedBytes, Is.LessThan(first.ManagedBytes + (4 << 20)), "managed memory");
            Assert.That(last.ResidentBytes, Is.LessThan(first.ResidentBytes + (80 << 20)), "resident memory");
            Assert.That(after.Processes, Is.LessThanOrEqualTo(before.Processes), "processes after disposal");
            Assert.That(after.Mounts, Is.LessThanOrEqualTo(before.Mounts), "mounts after disposal");
            Assert.That(after.Cgroups, Is.Zero, "cgroups after disposal");
            Assert.That(after.Descriptors, Is.LessThanOrEqualTo(before.Descriptors + 8), "descriptors after disposal, of which some are the run-time's own");
        });

        async Task<Census> SettleAsync(Census now, Predicate<Census> isSettled)
        {
            for (var settling = Stopwatch.StartNew(); !isSettled(now) && settling.Elapsed < TimeSpan.FromSeconds(15); now = Census.Take(Cache))
                await Task.Delay(50, token);
            return now;
        }

        async Task RoundAsync()
        {
            foreach ((string name, Func<Task> run) in kinds)
            {
                await run();
                counts[name] = counts.GetValueOrDefault(name) + 1;
                for (int i = 0; i < 2; i++)
                {
                    RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = good, Input = "x"u8.ToArray(), RunFunctionConfig = new() { Timeout = Long } }, token);
                    Assert.That(Text(response.Output), Is.EqualTo("x"), $"after {name}");
                    counts["good"] = counts.GetValueOrDefault("good") + 1;
                }
            }
        }
    }

    /// <summary>The ways in which a run may end, each of which must be told as what it is.</summary>
    private async Task<(string Name, Func<Task> Run)[]> KindsAsync(TestRunner runner, KillableSpawner spawner, CancellationToken token)
    {
        string damaged = Write(TestImage.Shell("true").WithLayer(tar => tar.File("x", RandomNumberGenerator.GetBytes(2 << 20))), "damaged");
        string layer = new DirectoryInfo(Path.Combine(Scratch, "damaged", "blobs", "sha256")).GetFiles().MaxBy(f => f.Length)!.FullName;
        byte[] bytes = File.ReadAllBytes(layer);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(layer, bytes);

        // Written once: an image that is written again is another one.
        string children = Write(TestImage.Shell("sleep 100 & sleep 100 & exit 0"), "children");
        string unread = Write(TestImage.Command("true"), "unread");
        string sleep = Write(TestImage.Shell("sleep 1000"), "sleep");
        string streams = Write(TestImage.Shell("yes"), "streams");
        string killed = Write(TestImage.Command("cat"), "killed");
        // Cancelled at odd moments: what the pull of it leaves would come late.
        await runner.PullAsync(sleep, cancellationToken: token);
        var kinds = new List<(string, Func<Task>)>
        {
            Kind<FunctionExitedException>("exit status", new() { Image = Write(TestImage.Shell("echo oops >&2; exit 3"), "exit") }),
            Kind<FunctionExitedException>("signal", new() { Image = Write(TestImage.Fault(), "fault") }),
            Kind<FunctionTimedOutException>("timeout", Within(40, "while :; do :; done", "busy")),
            Kind<FunctionTimedOutException>("timeout heeded", Within(40, "trap 'exit 0' TERM; while :; do sleep 0.005; done", "trap")),
            Kind<OutputLimitExceededException>("output limit", new() { Image = Write(TestImage.Shell("yes"), "flood") }),
            Kind<InvalidImageException>("damaged image", new() { Image = damaged }),
            Kind<InvalidImageException>("missing entrypoint", new() { Image = Write(TestImage.Command("/missing"), "missing") }),
            Kind<InvalidImageException>("not executable", new() { Image = Write(TestImage.Command("/data").WithLayer(tar => tar.File("data", "no program")), "data") }),
            Kind<ImageNotFoundException>("no such image", new() { Image = $"oci:{Scratch}/nothing:here" }),
            Kind<InvalidRequestException>("bad request", new() { Image = "Not A Reference" }),
            ("cancelled", CancelledAsync),
            ("children left", async () => await runner.RunFunctionAsync(new RunFunctionRequest { Image = children }, token)),
            ("input unread", async () => await runner.RunFunctionAsync(new RunFunctionRequest { Image = unread, Input = new byte[90_000] }, token)),
            ("stream failed", StreamFailedAsync),
            ("spark killed", SparkKilledAsync),
        };
        (string Name, Func<Task> Run) memory = Kind<FunctionExitedException>("out of memory", new()
        {
            Image = Write(TestImage.Shell("exec tail -c 100m /dev/zero"), "hog"),
            RunFunctionConfig = new() { Timeout = Long, Limits = new() { MemoryBytes = 16 << 20 } },
        });
        try
        {
            await memory.Run();
            kinds.Add(memory);
        }
        catch (ContainerEnvironmentException) when (!Ways.IsRoot)
        {
            // No limit of memory can be set here: one kind less.
        }

        return [.. kinds];

        (string, Func<Task>) Kind<TException>(string name, RunFunctionRequest request)
            where TException : Exception => (name, async () =>
        {
            try
            {
                await runner.RunFunctionAsync(request.RunFunctionConfig.Timeout is null ? request with { RunFunctionConfig = new() { Timeout = Long } } : request, token);
            }
            catch (TException)
            {
                return;
            }

            throw new InvalidOperationException($"a run of kind '{name}' ended well");
        });

        RunFunctionRequest Within(int milliseconds, string script, string name) =>
            new() { Image = Write(TestImage.Shell(script), name), RunFunctionConfig = new() { Timeout = TimeSpan.FromMilliseconds(milliseconds) } };

        async Task CancelledAsync()
        {
            using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
            source.CancelAfter(Random.Shared.Next(0, 30));
            try
            {
                await runner.RunFunctionAsync(new RunFunctionRequest { Image = sleep }, source.Token);
            }
            catch (OperationCanceledException) when (!token.IsCancellationRequested)
            {
            }
        }

        async Task StreamFailedAsync()
        {
            try
            {
                await runner.RunFunctionAsync(new RunFunctionRequest { Image = streams }, new FunctionStreams { Stdout = new MemoryStream(new byte[10], writable: false) }, token);
            }
            catch (NotSupportedException)
            {
            }
        }

        async Task SparkKilledAsync()
        {
            await using var input = new GatedInput();
            Task<RunFunctionResponse> run = runner.RunFunctionAsync(new RunFunctionRequest { Image = killed }, input.Streams, token);
            await Task.WhenAny(input.Reached, run);
            await spawner.KillAllAsync();
            await Assert.ThatAsync(() => run, Throws.InstanceOf<XfnException>());
        }
    }

    /// <summary>Remembers the sparks that run, to kill them as the machine might when it is out of memory.</summary>
    private sealed class KillableSpawner(ForkingSpawner inner) : INamespaceSpawner
    {
        private readonly ConcurrentDictionary<SpawnedNamespace, byte> _living = new();

        /// <summary>Kills all, and waits for their end: one that waits for a run must not count as living.</summary>
        public Task<string[]> KillAllAsync() => Task.WhenAll(_living.Keys.Select(living =>
        {
            living.Kill();
            return living.Ended;
        }));

        public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
        {
            SpawnedNamespace spawned = await inner.SpawnAsync(request, cancellationToken);
            _living.TryAdd(spawned, 0);
            _ = spawned.Ended.ContinueWith(_ => _living.TryRemove(spawned, out byte _), TaskScheduler.Default);
            return spawned;
        }
    }
}
