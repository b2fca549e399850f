using System.Collections.Concurrent;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>Several servers, some of which are busy, stopping, or gone.</summary>
internal sealed class FleetTests : ServedFixture
{
    [Test, CancelAfter(60_000)]
    public async Task All_runners_send_an_image_to_one_server_and_many_images_to_all(CancellationToken token)
    {
        List<ContainerRunnerServer> servers = await ServeAllAsync(3);
        string[] images = Images(300);
        int[] first = await WhereAsync(await ConnectAsync(servers, token), images, token);
        servers.Reverse();
        int[] second = await WhereAsync(await ConnectAsync(servers, token), images, token);
        Assert.That(second, Is.EqualTo(first), "another runner has another order");

        // A hundred each on average. Twice as far from it as this is nothing that chance brings about.
        Assert.That(first.CountBy(server => server).Select(c => c.Value), Has.Exactly(3).InRange(50, 150));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_is_added_takes_its_share_of_the_images_and_moves_no_other(CancellationToken token)
    {
        List<ContainerRunnerServer> servers = await ServeAllAsync(4);
        string[] images = Images(300);
        int[] before = await WhereAsync(await ConnectAsync(servers[..3], token), images, token);
        int[] after = await WhereAsync(await ConnectAsync(servers, token), images, token);
        int[] moved = [.. after.Where((server, image) => server != before[image])];
        Assert.That(moved, Is.All.EqualTo(3), "images moved between servers that were there before");
        Assert.That(moved, Has.Length.InRange(25, 125));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_stops_leaves_its_images_to_the_next_and_moves_no_other(CancellationToken token)
    {
        List<ContainerRunnerServer> servers = await ServeAllAsync(3);
        string[] images = Images(100);
        RemoteContainerRunner remote = await ConnectAsync(servers, token);
        int[] before = await WhereAsync(remote, images, token);
        await servers[1].StopAsync(token);
        int[] after = await WhereAsync(remote, images, token);
        Assert.That(after, Is.All.Not.EqualTo(1));
        Assert.That(after.Where((_, image) => before[image] != 1), Is.EqualTo(before.Where(server => server != 1)));
        Assert.That(after.Where((_, image) => before[image] == 1).Distinct().Order(), Is.EqualTo((int[])[0, 2]), "one server has them all");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_with_more_runs_than_a_server_has_places_goes_to_further_servers_and_waits_where_none_has_one(CancellationToken token)
    {
        var ends = new TaskCompletionSource();
        StubRunner[] runners = [Placed(0, ends.Task), Placed(1, ends.Task), Placed(2, ends.Task)];
        ContainerRunnerServer[] servers = [await ServeAsync(runners[0]), await ServeAsync(runners[1]), await ServeAsync(runners[2])];
        RemoteContainerRunner remote = await ConnectAsync(servers, token);
        Task[] runs = [.. Enumerable.Range(0, 3).Select(_ => remote.RunFunctionAsync(Request("long"), token))];
        while (runners.Any(r => r.Running == 0))
            await Task.Delay(10, token);
        Task fourth = remote.RunFunctionAsync(Request("long"), token);
        // Before it waits at one of them, it is refused by all.
        while (!runners.Any(r => r is { Running: 2, Last.RunFunctionConfig.MayWait: true }))
            await Task.Delay(10, token);
        Assert.That(runners.Sum(r => r.Running), Is.EqualTo(4));
        ends.SetResult();
        await Task.WhenAll([.. runs, fourth]);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_may_not_wait_is_refused_where_no_server_has_a_place(CancellationToken token)
    {
        var ends = new TaskCompletionSource();
        StubRunner runner = Placed(0, ends.Task);
        RemoteContainerRunner remote = await CallAllAsync(runner);
        Task run = remote.RunFunctionAsync(Request("long"), token);
        while (runner.Running == 0)
            await Task.Delay(10, token);
        RunFunctionRequest hasty = Request("long") with { RunFunctionConfig = new() { MayWait = false } };
        await Assert.ThatAsync(() => remote.RunFunctionAsync(hasty, token), Throws.InstanceOf<RunnerBusyException>());
        ends.SetResult();
        await run;
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_one_server_is_too_busy_for_goes_to_another(CancellationToken token)
    {
        var busy = new StubRunner(new RunnerBusyException("cannot take another run."));
        var free = new StubRunner();
        RemoteContainerRunner remote = await CallAllAsync(busy, free);
        for (int i = 0; i < 10; i++)
            Assert.That(Text((await remote.RunFunctionAsync(Request($"{i}"), token)).Output), Is.EqualTo($"{i}"));
        Assert.That(free.Runs, Is.EqualTo(10));
    }

    [Test, CancelAfter(60_000)]
    public async Task When_all_are_busy_the_caller_is_told_so(CancellationToken token)
    {
        int offers = 0;
        var busy = new StubRunner((request, _) =>
        {
            if (request.RunFunctionConfig.MayWait)
                Interlocked.Increment(ref offers);
            throw new RunnerBusyException("cannot take another run.");
        });
        RemoteContainerRunner remote = await CallAllAsync(busy, busy);
        RunnerBusyException error = await Assert.ThrowsAsync<RunnerBusyException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That((error.Message, offers), Is.EqualTo(("cannot take another run.", 5)));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_server_that_is_busy_is_not_pressed(CancellationToken token)
    {
        var busy = new StubRunner(new RunnerBusyException("cannot take another run."));
        RemoteContainerRunner remote = await CallAllAsync(busy);
        await Assert.ThrowsAsync<RunnerBusyException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That(busy.Runs, Is.EqualTo(1));
    }

    [TestCase("registry"), TestCase("machine"), CancelAfter(60_000)]
    public async Task A_run_that_failed_before_its_function_goes_to_another_server_and_one_that_failed_by_it_does_not(string what, CancellationToken token)
    {
        var unable = new StubRunner(what == "registry" ? new XfnException(RunStage.Pull, "cannot fetch.") : new ContainerEnvironmentException(RunStage.Spawn, "cannot make a namespace."));
        var failing = new StubRunner(new FunctionExitedException("function 'x' exited with status 1.") { ExitCode = 1 });
        RemoteContainerRunner remote = await CallAllAsync(unable, failing);
        for (int i = 0; i < 6; i++)
            await Assert.ThrowsAsync<FunctionExitedException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That(failing.Runs, Is.EqualTo(6));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_machine_that_failed_when_the_function_may_have_run_is_not_passed_over(CancellationToken token)
    {
        var broken = new StubRunner(new ContainerEnvironmentException(RunStage.Run, "cannot run xfn-spark: it ended without an answer."));
        RemoteContainerRunner remote = await CallAllAsync(broken, broken);
        await Assert.ThrowsAsync<ContainerEnvironmentException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That(broken.Runs, Is.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_is_stopped_in_good_order_loses_no_run(CancellationToken token)
    {
        StubRunner[] runners = [Slow(), Slow(), Slow()];
        ContainerRunnerServer[] servers = [await ServeAsync(runners[0]), await ServeAsync(runners[1]), await ServeAsync(runners[2])];
        RemoteContainerRunner remote = Call(servers);
        Task<string[]> load = LoadAsync(remote, 400, 8, token);
        foreach ((StubRunner runner, ContainerRunnerServer server) in runners.Zip(servers).SkipLast(1))
        {
            while (runner.Runs < 20)
                await Task.Delay(10, token);
            await server.StopAsync(token);
        }

        Assert.That(await load, Is.EqualTo(Enumerable.Range(0, 400).Select(i => $"{i}")));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_whose_server_is_lost_is_not_begun_again_unless_told(CancellationToken token)
    {
        (ServerUnavailableException? error, int runs) = await LoseAsync(retry: false, token);
        Assert.That((error?.MayHaveStarted, error?.Stage, runs), Is.EqualTo((true, RunStage.Run, 1)));
        Assert.That(error!.Message, Does.Contain("RetryLostRuns"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_whose_server_is_lost_is_begun_again_where_told(CancellationToken token)
    {
        (ServerUnavailableException? error, int runs) = await LoseAsync(retry: true, token);
        Assert.That((error, runs), Is.EqualTo(((ServerUnavailableException?)null, 2)));
    }

    /// <summary>One place: a run of "long" holds it, and others wait if they may. It answers with its number.</summary>
    private static StubRunner Placed(byte number, Task ends)
    {
        int taken = 0;
        byte[] answer = [number];
        return new StubRunner(async (request, cancellation) =>
        {
            if (Interlocked.Increment(ref taken) > 1 && !request.RunFunctionConfig.MayWait)
            {
                Interlocked.Decrement(ref taken);
                throw new RunnerBusyException("cannot take another run.");
            }

            if (Text(request.Input) == "long")
                await ends.WaitAsync(cancellation);
            Interlocked.Decrement(ref taken);
            return new RunFunctionResponse { Output = answer };
        });
    }

    private static string[] Images(int count) => [.. Enumerable.Range(0, count).Select(i => $"example.org/function-{i}")];

    private static StubRunner Slow() => new(async (request, cancellation) =>
    {
        await Task.Delay(20, cancellation);
        return new RunFunctionResponse { Output = request.Input };
    });

    /// <summary>Loses the server of a run whose function has started, while another server stands by.</summary>
    private async Task<(ServerUnavailableException? Error, int Runs)> LoseAsync(bool retry, CancellationToken token)
    {
        var started = new ConcurrentQueue<int>();
        var wires = new List<Wire>();
        for (int i = 0; i < 2; i++)
        {
            int index = i;
            wires.Add(new Wire(await ServeAsync(new StubRunner(async (_, cancellation) =>
            {
                started.Enqueue(index);
                if (started.Count == 1)
                    await Task.Delay(Timeout.Infinite, cancellation);
                return new RunFunctionResponse();
            }))));
        }

        try
        {
            RemoteContainerRunner remote = Call(string.Join(',', wires.Select(w => w.Address)), o => o.RetryLostRuns = retry);
            Task run = remote.RunFunctionAsync(Request(), token);
            while (!started.TryPeek(out _))
                await Task.Delay(10, token);
            started.TryPeek(out int first);
            wires[first].Cut();
            try
            {
                await run;
                return (null, started.Count);
            }
            catch (ServerUnavailableException ex)
            {
                return (ex, started.Count);
            }
        }
        finally
        {
            foreach (Wire wire in wires)
                await wire.DisposeAsync();
        }
    }

    /// <summary>Servers that answer with their number.</summary>
    private async Task<List<ContainerRunnerServer>> ServeAllAsync(int count)
    {
        var servers = new List<ContainerRunnerServer>();
        for (int i = 0; i < count; i++)
        {
            byte[] number = [(byte)i];
            servers.Add(await ServeAsync(new StubRunner((_, _) => Task.FromResult(new RunFunctionResponse { Output = number }))));
        }

        return servers;
    }

    /// <summary>A runner that is connected to all servers: the first runs of one go to those that are connected
    /// first.</summary>
    private async Task<RemoteContainerRunner> ConnectAsync(IReadOnlyCollection<ContainerRunnerServer> servers, CancellationToken token)
    {
        RemoteContainerRunner remote = Call([.. servers]);
        var connected = new HashSet<int>();
        for (int i = 0; connected.Count < servers.Count; i++)
            connected.UnionWith(await WhereAsync(remote, [$"example.org/any-{i}"], token));
        return remote;
    }

    /// <summary>Which server each image goes to.</summary>
    private static async Task<int[]> WhereAsync(RemoteContainerRunner remote, string[] images, CancellationToken token)
    {
        var servers = new int[images.Length];
        for (int i = 0; i < images.Length; i++)
            servers[i] = (await remote.RunFunctionAsync(Request(image: images[i]), token)).Output.Span[0];
        return servers;
    }

    private async Task<RemoteContainerRunner> CallAllAsync(params StubRunner[] runners)
    {
        var servers = new List<ContainerRunnerServer>();
        foreach (StubRunner runner in runners)
            servers.Add(await ServeAsync(runner));
        return Call([.. servers]);
    }

    /// <summary>Runs of many images, so that each server has some.</summary>
    private static async Task<string[]> LoadAsync(RemoteContainerRunner remote, int runs, int atOnce, CancellationToken cancellationToken)
    {
        string[] images = Images(50);
        var answers = new string[runs];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, runs),
            new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = cancellationToken },
            async (i, token) => answers[i] = Text((await remote.RunFunctionAsync(Request($"{i}", images[i % images.Length]), token)).Output));
        return answers;
    }
}
