namespace Xfn.Core.Benchmarks;

/// <summary>What a run in this process is, with its answer looked at.</summary>
internal static class Ours
{
    public static Way Way(string name, IContainerRunner runner, string image, byte[]? input = null) => new(name, () => RunAsync(runner, image, input));

    public static async Task RunAsync(IContainerRunner runner, string image, byte[]? input = null)
    {
        input ??= Peers.Input;
        Check(await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input }), input);
    }

    public static void Check(RunFunctionResponse response, byte[] input)
    {
        if (!response.Output.Span.SequenceEqual(input))
            throw new InvalidOperationException("the function answered something else");
    }
}

/// <summary>Warm runs of a tiny function, <c>cat</c> of busybox.</summary>
internal static class WarmRows
{
    public static async Task AddAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        await using PeerLoop crun = PeerLoop.Crun(bench);
        await using ContainerRunner runner = bench.MakeRunner();
        await using ContainerRunner cold = bench.MakeRunner(o => o.ReadyNamespaces = 0);
        await using ContainerRunner unshare = bench.MakeRunner(o => o.ForkSparks = false);
        await using ContainerRunner unshareCold = bench.MakeRunner(o => (o.ForkSparks, o.ReadyNamespaces) = (false, 0));
        PeerLoop? podman = null;
        await bench.CompareAsync(
            ["warm run of cat", "warm run, no namespace ready", "warm run, ForkSparks off", "the same, no namespace ready"],
            200,
            [
                Ours.Way("ours", runner, image), Ours.Way("ours, cold", cold, image),
                Ours.Way("ours, unshare", unshare, image), Ours.Way("ours, unshare and cold", unshareCold, image),
            ],
            [
                new("crun run", crun.RunAsync) { IsPeer = true },
                new("podman run", async () => await (podman ??= await PeerLoop.PodmanAsync(bench, image)).RunAsync()) { IsPeer = true, Every = 10 },
                new("Process.Start", () => Peers.PlainAsync("/bin/busybox", "cat")) { IsPeer = true },
            ]);
        if (podman is not null)
            await podman.DisposeAsync();
    }
}

/// <summary>Runs of prepared functions, each with all its containers ready.</summary>
internal static class PreparedRows
{
    private const int Count = 2;

    public static async Task AddAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        await using PeerLoop crun = PeerLoop.Crun(bench);
        await using ContainerRunner runner = bench.MakeRunner();
        await using PreparedFunction function = await runner.PrepareAsync(new RunFunctionRequest { Image = image }, new PrepareOptions { Count = Count });
        await bench.CompareAsync(
            "prepared run of cat",
            200,
            new("ours", RunAsync) { After = () => ReadyAsync(function) },
            new("Process.Start", () => Peers.PlainAsync("/bin/busybox", "cat")) { IsPeer = true },
            new("crun run", crun.RunAsync) { IsPeer = true },
            Ours.Way("an ordinary run", runner, image));

        async Task RunAsync()
        {
            RunFunctionResponse response = await function.RunAsync(Peers.Input);
            Ours.Check(response, Peers.Input);
            if (!response.Statistics.Prepared)
                throw new InvalidOperationException("no container was ready");
        }
    }

    private static async Task ReadyAsync(PreparedFunction function)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (function.ReadyCount < Count)
            await Task.Delay(1, patience.Token);
    }
}

/// <summary>The same function in larger images: what an image holds should cost nothing once it is cached.</summary>
internal static class ImageRows
{
    public static async Task AddAsync(Bench bench)
    {
        await using ContainerRunner runner = bench.MakeRunner();
        await bench.CompareAsync(
            ["warm run, image of 100 MB", "warm run, 140 layers", "warm run, 256 layers"],
            100,
            [
                Ours.Way("large", runner, bench.Images.Large(100_000_000)),
                Ours.Way("140 layers", runner, bench.Images.Layered(140)),
                Ours.Way("256 layers", runner, bench.Images.Layered(256)),
            ],
            [Ours.Way("tiny image", runner, bench.Images.Tiny())]);
    }
}

/// <summary>Eight runs at once, for some time, against as many loops of a shell.</summary>
internal static class ManyRows
{
    private const int Workers = 8;

    public static async Task AddAsync(Bench bench)
    {
        int runs = bench.Rounds(40);
        string image = bench.Images.Tiny();
        string bundle = bench.Images.Bundle(ownUserNamespace: true);
        string input = Path.Combine(bench.Work, "input");
        await File.WriteAllBytesAsync(input, Peers.Input);

        // Root's crun gives what it has as stdout to the container's user: the machine's /dev/null too.
        string loops = $$"""
            loop() {
              for ((i = 0; i < {{runs}}; i++)); do
                crun --cgroup-manager=disabled --root {{bundle}}/state run --bundle {{bundle}} b$1-$i <{{input}} >{{input}}-$1 || return
              done
            }
            for ((w = 0; w < {{Workers}}; w++)); do loop $w & loops+=" $!"; done
            for l in $loops; do wait $l || exit; done
            """;
        await using ContainerRunner runner = bench.MakeRunner();
        await using ContainerRunner unshare = bench.MakeRunner(o => o.ForkSparks = false);
        await bench.CompareAsync(
            ["a run of eight at once", "a run of eight at once, ForkSparks off"],
            6,
            [Eight("ours", runner), Eight("ours, unshare", unshare)],
            [new Way("8 loops of crun, a user namespace each run", () => Peers.ShellAsync(loops, pure: true)) { IsPeer = true, Runs = Workers * runs }]);

        Way Eight(string name, ContainerRunner own) =>
            new(name, () => Task.WhenAll(Enumerable.Range(0, Workers).Select(_ => RepeatAsync(runs, () => Ours.RunAsync(own, image))))) { Runs = Workers * runs };
    }

    private static async Task RepeatAsync(int times, Func<Task> run)
    {
        for (int i = 0; i < times; i++)
            await run();
    }
}
