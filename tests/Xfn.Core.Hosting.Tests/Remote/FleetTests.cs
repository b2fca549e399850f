using System.Collections.Concurrent;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>Several servers, some of which are busy, stopping, or gone.</summary>
internal sealed class FleetTests : ServedFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Runs_go_to_all_servers_in_turn(CancellationToken token)
    {
        StubRunner[] runners = [new StubRunner(), new StubRunner(), new StubRunner()];
        RemoteContainerRunner remote = await CallAllAsync(runners);

        // The first calls go to the servers that are connected first.
        while (runners.Any(r => r.Runs == 0))
            await remote.RunFunctionAsync(Request(), token);
        int[] before = [.. runners.Select(r => r.Runs)];
        for (int i = 0; i < 30; i++)
            await remote.RunFunctionAsync(Request(), token);
        Assert.That(runners.Select((r, i) => r.Runs - before[i]), Is.All.EqualTo(10));
    }

    [Test, CancelAfter(60_000)]
    public async Task Each_runner_goes_round_the_servers_in_an_order_of_its_own(CancellationToken token)
    {
        const int Count = 6;
        var turns = new ConcurrentQueue<int>();
        var servers = new List<ContainerRunnerServer>();
        for (int i = 0; i < Count; i++)
        {
            int index = i;
            servers.Add(await ServeAsync(new StubRunner((request, _) =>
            {
                turns.Enqueue(index);
                return Task.FromResult(new RunFunctionResponse());
            })));
        }

        var orders = new HashSet<string>();
        for (int runner = 0; runner < 4; runner++)
        {
            RemoteContainerRunner remote = Call([.. servers]);
            int[] round;
            do
            {
                // The first calls go to the servers that are connected first.
                turns.Clear();
                for (int i = 0; i < Count; i++)
                    await remote.RunFunctionAsync(Request(), token);
                round = [.. turns];
            }
            while (round.Distinct().Count() < Count);
            int first = Array.IndexOf(round, 0);
            orders.Add(string.Join(' ', round[first..].Concat(round[..first])));
        }

        Assert.That(orders, Has.Count.GreaterThan(1), "four runners have one order");
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
        var busy = new StubRunner(new RunnerBusyException("cannot take another run."));
        RemoteContainerRunner remote = await CallAllAsync(busy, busy);
        RunnerBusyException error = await Assert.ThrowsAsync<RunnerBusyException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That((error.Message, busy.Runs), Is.EqualTo(("cannot take another run.", 5)));
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

    private async Task<RemoteContainerRunner> CallAllAsync(params StubRunner[] runners)
    {
        var servers = new List<ContainerRunnerServer>();
        foreach (StubRunner runner in runners)
            servers.Add(await ServeAsync(runner));
        return Call([.. servers]);
    }

    private static async Task<string[]> LoadAsync(RemoteContainerRunner remote, int runs, int atOnce, CancellationToken cancellationToken)
    {
        var answers = new string[runs];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, runs),
            new ParallelOptions { MaxDegreeOfParallelism = atOnce, CancellationToken = cancellationToken },
            async (i, token) => answers[i] = Text((await remote.RunFunctionAsync(Request($"{i}"), token)).Output));
        return answers;
    }
}
