using System.Collections.Concurrent;
using System.Diagnostics;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Pulling without running, and what is told of it.</summary>
internal sealed class PullTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_pull_tells_how_far_each_layer_is_and_the_image_then_runs_without_asking(CancellationToken token)
    {
        using var registry = new DockerRegistry();
        string image = registry.Push(Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", Random()))), "fn:v1");
        TestRunner runner = NewRunner();
        var progress = new Recorder();
        CachedImage pulled = await runner.PullAsync(image, null, progress, token);
        Assert.That(pulled.Reference, Is.EqualTo(image));
        Assert.That(pulled.Bytes, Is.GreaterThan(2 << 20));
        Assert.That(pulled.LastUsed, Is.EqualTo(DateTimeOffset.UtcNow).Within(TimeSpan.FromMinutes(1)));

        IGrouping<Digest, PullProgress>[] layers = [.. progress.Reports.GroupBy(r => r.Layer)];
        Assert.That(layers, Has.Length.EqualTo(2));
        foreach (IGrouping<Digest, PullProgress> layer in layers)
        {
            Assert.That(layer.Select(r => r.Bytes), Is.Ordered);
            Assert.That((layer.First().Phase, layer.First().Bytes), Is.EqualTo((PullPhase.Downloading, 0L)));
            Assert.That((layer.Last().Phase, layer.Last().Bytes), Is.EqualTo((PullPhase.Done, layer.Last().TotalBytes)));
            Assert.That(layer.Count(r => r.Phase == PullPhase.Done), Is.EqualTo(1));
        }

        Assert.That(await runner.GetImagesAsync(token), Is.EqualTo(new[] { pulled }).UsingPropertiesComparer());
        RunFunctionResponse response = await runner.RunFunctionAsync(
            new RunFunctionRequest { Image = image, Input = "in"u8.ToArray(), ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Never } }, token);
        Assert.That((Text(response.Output), response.Statistics.ImageDigest), Is.EqualTo(("in", pulled.Digest)));

        var again = new Recorder();
        Assert.That((await runner.PullAsync(image, null, again, token)).Digest, Is.EqualTo(pulled.Digest));
        Assert.That(again.Reports, Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task Who_pulls_what_another_is_pulling_is_told_that_it_waits(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        using var first = CancellationTokenSource.CreateLinkedTokenSource(token);
        var stuck = new TaskCompletionSource();
        TestRunner slow = NewRunner(o => o.ImageFetcher = new StuckFetcher(1000, () => stuck.TrySetResult()));
        Task<CachedImage> stuckPull = slow.PullAsync(image, cancellationToken: first.Token);
        await stuck.Task.WaitAsync(token);

        var progress = new Recorder();
        Task<CachedImage> pull = NewRunner().PullAsync(image, null, progress, token);
        while (progress.Reports.IsEmpty)
            await Task.Delay(10, token);
        Assert.That(progress.Reports.Select(r => r.Phase), Is.All.EqualTo(PullPhase.Waiting));
        await first.CancelAsync();
        await Assert.ThatAsync(() => stuckPull, Throws.InstanceOf<OperationCanceledException>());
        Assert.That((await pull).Bytes, Is.GreaterThan(1 << 20));
        Assert.That(progress.Reports.Last().Phase, Is.EqualTo(PullPhase.Done));
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task Who_waits_for_anothers_pull_sees_how_far_it_is_and_the_blob_is_fetched_once(bool otherProcess, CancellationToken token)
    {
        await using SlowRegistry registry = SlowRegistry.Start(Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", Random()))));
        registry.Limit = 256 << 10;
        TestRunner runner = NewRunner();
        Task pull = otherProcess
            ? Tool.RunAsync(HostProcess.Xfn, ["pull", "--cache-dir", Cache, registry.Image], token)
            : runner.PullAsync(registry.Image, cancellationToken: token);
        await registry.SentAsync(registry.Limit, token);

        var progress = new Recorder();
        Task waiting = runner.PullAsync(registry.Image, null, progress, token);
        // The other tells a tenth of a second later at the earliest, when it gets more then.
        for (; progress.OfBallast.Count(r => r.Bytes > 0) < 3 && !waiting.IsCompleted; registry.Limit += 8 << 10)
            await Task.Delay(100, token);
        registry.Limit = long.MaxValue;
        await waiting;
        await pull;
        PullProgress[] reports = [.. progress.OfBallast];
        Assert.That(reports.Last(), Is.EqualTo(new PullProgress(reports[0].Layer, PullPhase.Done, reports[0].TotalBytes, reports[0].TotalBytes)).UsingPropertiesComparer());
        PullProgress[] waited = reports[..^1];
        Assert.That(waited.Select(r => r.Phase), Is.All.EqualTo(PullPhase.Waiting));
        Assert.That(waited.Select(r => r.Bytes), Is.Ordered.And.All.LessThanOrEqualTo(reports[0].TotalBytes));
        Assert.That(waited.Count(r => r.Bytes > 0), Is.GreaterThan(2), string.Join('\n', waited.AsEnumerable()));
        Assert.That(registry.Fetches.Values, Is.All.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task How_far_a_puller_was_that_died_is_not_believed(CancellationToken token)
    {
        await using SlowRegistry registry = SlowRegistry.Start(Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", Random()))));
        registry.Limit = 1 << 20;
        using Process process = Tool.Start(HostProcess.Xfn, ["pull", "--cache-dir", Cache, registry.Image]);
        await registry.SentAsync(registry.Limit, token);

        // What was sent need not have been read yet.
        while (Directory.GetFiles(Path.Combine(Cache, "locks")).Max(f => new FileInfo(f).Length) == 0)
            await Task.Delay(5, token);
        process.Kill();
        await Tool.EndAsync(process, token);

        registry.Limit = registry.Sent + (64 << 10);
        Task<CachedImage> pull = NewRunner().PullAsync(registry.Image, cancellationToken: token);
        await registry.SentAsync(registry.Limit, token);
        var progress = new Recorder();
        Task<CachedImage> waiting = NewRunner().PullAsync(registry.Image, null, progress, token);
        while (!progress.OfBallast.Any())
            await Task.Delay(5, token);
        registry.Limit = long.MaxValue;
        await waiting;
        await pull;
        PullProgress[] waited = [.. progress.OfBallast.Where(r => r.Phase == PullPhase.Waiting)];
        Assert.That(waited.Select(r => r.Bytes), Is.Ordered);
        Assert.That(waited[0].Bytes, Is.LessThan(1 << 20));
        Assert.That(Directory.GetFiles(Path.Combine(Cache, "locks")).Select(f => new FileInfo(f).Length), Is.All.Zero);
    }

    private static byte[] Random()
    {
        var bytes = new byte[2 << 20];
        new Random(1).NextBytes(bytes);
        return bytes;
    }

    private sealed class Recorder : IProgress<PullProgress>
    {
        public ConcurrentQueue<PullProgress> Reports { get; } = [];

        public IEnumerable<PullProgress> OfBallast => Reports.Where(r => r.TotalBytes > 2 << 20);

        public void Report(PullProgress value) => Reports.Enqueue(value);
    }
}
