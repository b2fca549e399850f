using System.Collections.Concurrent;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>Three servers that are killed and started again while runs go on.</summary>
[NonParallelizable]
internal sealed class KilledServerTests : RunnerFixture
{
    private const int Servers = 3;
    private const int AtOnce = 6;
    private const int MoreAnswers = 30;

    [TestCase(false)]
    [TestCase(true)]
    [CancelAfter(120_000)]
    public async Task No_run_is_lost_or_answered_wrong_beyond_what_is_documented(bool retryLostRuns, CancellationToken token)
    {
        using var registry = new DockerRegistry();
        string image = registry.Push(Write(TestImage.Command("cat")), "cat");
        ServerProcess[] servers = [.. Enumerable.Range(0, Servers).Select(i => new ServerProcess(Path.Combine(Scratch, $"cache-{i}"), DockerRegistry.FreePort()))];
        var lost = new ConcurrentBag<ServerUnavailableException>();
        int answered = 0, begun = 0, kills = 0;
        try
        {
            await Task.WhenAll(servers.Select(s => s.StartAsync(token)));
            await using var remote = new RemoteContainerRunner(string.Join(',', servers.Select(s => s.Address)), o => (o.RetryLostRuns, o.MaxAttempts) = (retryLostRuns, 8));
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
            Task load = Task.WhenAll(Enumerable.Range(0, AtOnce).Select(_ => Task.Run(CallAsync, token)));
            foreach (ServerProcess server in servers)
            {
                await MoreAnsweredAsync();
                await server.KillAsync();
                kills++;
                // The other two serve on.
                await MoreAnsweredAsync();
                await server.StartAsync(token);
            }

            await MoreAnsweredAsync();
            await stop.CancelAsync();
            await load;

            async Task MoreAnsweredAsync()
            {
                for (int target = Volatile.Read(ref answered) + MoreAnswers; Volatile.Read(ref answered) < target;)
                {
                    // Whoever calls ends at a wrong answer.
                    if (load.IsFaulted)
                        await load;
                    await Task.Delay(10, token);
                }
            }

            async Task CallAsync()
            {
                while (!stop.IsCancellationRequested)
                {
                    byte[] input = Guid.NewGuid().ToByteArray();
                    Interlocked.Increment(ref begun);
                    try
                    {
                        RunFunctionResponse response = await remote.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input }, token);
                        Assert.That(response.Output.ToArray(), Is.EqualTo(input));
                        Interlocked.Increment(ref answered);
                    }
                    catch (ServerUnavailableException ex)
                    {
                        lost.Add(ex);
                    }
                }
            }
        }
        finally
        {
            foreach (ServerProcess server in servers)
                await server.DisposeAsync();
        }

        TestContext.Out.WriteLine($"{begun} runs, {answered} answered, {lost.Count} lost in {kills} kills");
        Assert.That(answered + lost.Count, Is.EqualTo(begun));
        Assert.That(answered, Is.GreaterThan(20));
        Assert.That(lost.Select(e => e.MayHaveStarted), Is.All.True, string.Join('\n', lost.Select(e => e.Message)));
        Assert.That(lost, Has.Count.LessThanOrEqualTo(retryLostRuns ? 0 : kills * AtOnce));
    }
}
