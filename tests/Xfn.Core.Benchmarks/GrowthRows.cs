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

    private static Task AtOnceAsync(ContainerRunner runner, string image, int runs) => Task.WhenAll(Enumerable.Range(0, runs).Select(_ => Ours.RunAsync(runner, image)));
}
