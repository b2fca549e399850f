namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What runs cost the host's garbage collector. They run alone: allocations are the process's.</summary>
[NonParallelizable, Category(Ways.InOne)]
internal sealed class AllocationTests : RunnerFixture
{
    /// <summary>Twice a release build's as root (27 KiB; 34 with subordinate ids, for two helper programs): debug
    /// builds and later .NETs need more. A new bundle, a text reader a stream or a path a layer goes beyond.</summary>
    private const double MaxKiB = 55;

    private const int Runs = 50;

    [Test, CancelAfter(120_000)]
    public async Task A_warm_run_allocates_little_however_many_layers_its_image_has([Values(1, 64)] int layers, CancellationToken token)
    {
        ReadOnlyMemory<byte>[] content =
        [
            InMemoryImageFetcher.Layer(new LayerFile("bin/busybox") { Content = await File.ReadAllBytesAsync("/bin/busybox", token) }),
            .. Enumerable.Range(1, layers - 1).Select(i => InMemoryImageFetcher.Layer(new LayerFile($"layer-{i}"))),
        ];
        var fetcher = new InMemoryImageFetcher();
        fetcher.AddImage("functions.example/cat", new ImageExecutionConfig { Entrypoint = ["/bin/busybox", "cat"] }, content);
        await using TestRunner runner = NewRunner(o => o.ImageFetcher = fetcher);
        var request = new RunFunctionRequest { Image = "functions.example/cat", Input = "hello"u8.ToArray() };

        await RunAsync(10);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        await RunAsync(Runs);
        double kib = (GC.GetTotalAllocatedBytes(precise: true) - before) / 1024.0 / Runs;
        TestContext.Out.WriteLine($"{kib:f1} KiB a run");
        Assert.That(kib, Is.LessThan(MaxKiB));

        async Task RunAsync(int runs)
        {
            for (int i = 0; i < runs; i++)
                Assert.That((await runner.RunFunctionAsync(request, token)).Output.Length, Is.EqualTo(5));
        }
    }
}
