namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What runs cost the host's garbage collector. No other test runs at the same time: allocations are the process's.</summary>
[NonParallelizable, Category(Ways.InOne)]
internal sealed class AllocationTests : RunnerFixture
{
    /// <summary>Twice what was measured in a release build as root (27 KiB; 34 with subordinate ids, whose two helper programs are started besides), for a debug build allocates
    /// more and so does a .NET of another day. A bundle that is written anew, a text reader for each stream of a program, or a path for each layer would take it beyond.</summary>
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
