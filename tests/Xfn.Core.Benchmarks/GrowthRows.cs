using System.Diagnostics;
using System.Globalization;

namespace Xfn.Core.Benchmarks;

/// <summary>What a run costs where something grows: whether what should be flat or linear is so.</summary>
internal static class GrowthRows
{
    public static async Task AddCachedAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        var warm = new List<Way>();
        var fresh = new List<Way>();
        var runners = new List<ContainerRunner>();
        foreach (long images in bench.Points(10, 1, 10, 100, 1_000))
        {
            string name = $"{images:n0} cached image{(images == 1 ? "" : "s")}";
            string cache = Path.Combine(bench.Work, $"cache-{images}");
            ContainerRunner runner = bench.MakeRunner(o => o.WithCacheDir(cache));
            runners.Add(runner);
            for (int i = 1; i < images; i++)
                await runner.PullAsync(bench.Images.Other());
            warm.Add(Ours.Way(name, runner, image));
            fresh.Add(new($"{name}, a new runner", () => FreshAsync(cache)));
        }

        await bench.GrowAsync("growth: images in the cache", 50, warm);
        await bench.GrowAsync("growth: images in the cache", 20, fresh);
        foreach (ContainerRunner runner in runners)
            await runner.DisposeAsync();

        async Task FreshAsync(string cache)
        {
            await using ContainerRunner runner = bench.MakeRunner(o => o.WithCacheDir(cache));
            await Ours.RunAsync(runner, image);
        }
    }

    public static async Task AddLayersAsync(Bench bench)
    {
        await using ContainerRunner runner = bench.MakeRunner();
        await bench.GrowAsync(
            "growth: layers of the image",
            100,
            bench.Points(256, 1, 16, 64, 128, 256).Select(layers => Ours.Way($"{layers} layer{(layers == 1 ? "" : "s")}", runner, bench.Images.Layered((int)layers))));
    }

    public static async Task AddOutputAsync(Bench bench)
    {
        await using ContainerRunner runner = bench.MakeRunner();
        await bench.GrowAsync("growth: output", 7, bench.Points(1 << 20, 1 << 10, 1 << 20, 32 << 20, 1 << 30).Select(bytes =>
        {
            string image = bench.Images.Tiny("/bin/busybox", "dd", "if=/dev/zero", "bs=1k", string.Create(CultureInfo.InvariantCulture, $"count={bytes >> 10}"));
            return new Way($"{bytes >> 10:n0} KiB of output", () => StreamRows.ThroughAsync(runner, image, 0, bytes));
        }));
    }

    /// <summary>With two places: all others wait.</summary>
    public static async Task AddQueuedAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        await using ContainerRunner runner = bench.MakeRunner(o => o.MaxConcurrency = 2);
        await bench.GrowAsync(
            "growth: runs asked for at once of a runner with two places",
            3,
            bench.Points(10, 2, 10, 100, 1_000).Select(runs => new Way($"{runs:n0} runs", () => AtOnceAsync(runner, image, (int)runs)) { Runs = (int)runs }));
    }

    public static async Task AddConcurrentAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        await using ContainerRunner runner = bench.MakeRunner(o => o.MaxConcurrency = 64);
        await bench.GrowAsync("growth: runs that go on at once", 5, bench.Points(8, 1, 2, 4, 8, 16, 32, 64).Select(runs => new Way($"{runs} at once", async () =>
        {
            for (long done = 0; done < 64; done += runs)
                await AtOnceAsync(runner, image, (int)runs);
        }) { Runs = 64 }));
    }

    /// <summary>Functions that wait, called through a server: how long until all of them do, and the memory of all that
    /// this takes (PSS): the server, its client, what makes containers, and the functions. Calls are made 64 at a
    /// time.</summary>
    public static async Task AddAsleepAsync(Bench bench)
    {
        const int atATime = 64;
        string image = bench.Images.Tiny("/bin/busybox", "sleep", "100000");
        foreach ((string name, bool forks) in ((string, bool)[])[("functions asleep, called through a server", true), ("the same, ForkSparks off", false)])
        {
            foreach (int runs in bench.Points(20, 20, 250, 1_000))
            {
                await using ContainerRunner runner = bench.MakeRunner(o => (o.MaxConcurrency, o.ForkSparks) = (runs, forks));
                await using LocalServer local = await LocalServer.StartAsync(bench, runner);
                await Ours.RunAsync(local.Client, bench.Images.Tiny());
                double before = Processes.ProportionalMiB(Environment.ProcessId);
                long start = Stopwatch.GetTimestamp();
                using var stop = new CancellationTokenSource();
                var request = new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(10) } };
                var calls = new List<Task>();
                int[] processes = [];
                for (int asleep = 0; asleep < runs; asleep = processes.Count(Processes.IsBusybox))
                {
                    while (calls.Count < Math.Min(runs, asleep + atATime))
                        calls.Add(local.Client.RunFunctionAsync(request, stop.Token));
                    if (calls.Find(call => call.IsCompleted) is { } ended)
                        await ended;
                    await Task.Delay(50);
                    processes = [.. Processes.Below(Environment.ProcessId)];
                }

                double time = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                double memory = Processes.ProportionalMiB(Environment.ProcessId) - before + processes.Sum(Processes.ProportionalMiB);
                bench.Note($"growth: {name}", $"{runs:n0} functions: until all are asleep, and MiB of one", time, memory / runs);
                await stop.CancelAsync();
                await Task.WhenAll(calls).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>Calls that wait at a server with eight places, all of them taken: how long until all of them wait, and
    /// the memory of the server and its client (PSS); then until all have been answered.</summary>
    public static async Task AddWaitingAsync(Bench bench)
    {
        const int places = 8;
        string image = bench.Images.Tiny(), sleeper = bench.Images.Tiny("/bin/busybox", "sleep", "100000");
        foreach (int calls in bench.Points(100, 100, 1_000, 10_000))
        {
            await using ContainerRunner runner = bench.MakeRunner(o => (o.MaxConcurrency, o.MaxQueuedRuns) = (places, 10_000));
            var counter = new CountingRunner(runner);
            await using LocalServer local = await LocalServer.StartAsync(bench, counter);
            await Ours.RunAsync(local.Client, image);
            using var stop = new CancellationTokenSource();
            Task[] asleep = [.. Enumerable.Range(0, places).Select(_ => local.Client.RunFunctionAsync(With(sleeper), stop.Token))];
            await counter.ReachAsync(1 + places);
            double before = Processes.ProportionalMiB(Environment.ProcessId);
            long start = Stopwatch.GetTimestamp();
            Task<RunFunctionResponse>[] waiting = [.. Enumerable.Range(0, calls).Select(_ => local.Client.RunFunctionAsync(With(image)))];
            await counter.ReachAsync(1 + places + calls);
            bench.Note(
                "growth: calls that wait at a server",
                $"{calls:n0} calls: until all wait, and memory of all",
                Stopwatch.GetElapsedTime(start).TotalMilliseconds,
                Processes.ProportionalMiB(Environment.ProcessId) - before);

            start = Stopwatch.GetTimestamp();
            await stop.CancelAsync();
            foreach (RunFunctionResponse response in await Task.WhenAll(waiting))
                Ours.Check(response, Peers.Input);
            bench.Note(
                "growth: calls that wait at a server",
                $"{calls:n0} calls: until all are answered, and memory of all",
                Stopwatch.GetElapsedTime(start).TotalMilliseconds,
                Processes.ProportionalMiB(Environment.ProcessId) - before);
            await Task.WhenAll(asleep).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        static RunFunctionRequest With(string image) => new() { Image = image, Input = Peers.Input, RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(10) } };
    }

    private static Task AtOnceAsync(ContainerRunner runner, string image, int runs) => Task.WhenAll(Enumerable.Range(0, runs).Select(_ => Ours.RunAsync(runner, image)));
}

/// <summary>Counts the runs that a runner was asked for.</summary>
internal sealed class CountingRunner(IContainerRunner runner) : IContainerRunner
{
    private int _runs;

    public async Task ReachAsync(int runs)
    {
        while (Volatile.Read(ref _runs) < runs)
            await Task.Delay(10);
    }

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        Interlocked.Increment(ref _runs);
        return runner.RunFunctionAsync(request, cancellationToken);
    }

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) =>
        runner.RunFunctionAsync(request, streams, cancellationToken);

    public ValueTask DisposeAsync() => runner.DisposeAsync();
}
