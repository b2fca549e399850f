using System.Collections.Concurrent;
using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Health.V1;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Server.Tests.Support;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server.Tests;

/// <summary>Callers who may call and mean harm: they send and do not end, or send little that becomes much.</summary>
[NonParallelizable]
internal sealed class HostileCallerTests : ServerFixture
{
    /// <summary>What docs/operations.md says of a server's own memory: a sum of these.</summary>
    private const long BaseBytes = 256L << 20, BytesOfConnection = 768L << 10;

    [Test, CancelAfter(120_000)]
    public Task A_server_under_attack_keeps_its_memory_and_serves_an_honest_caller(CancellationToken token) =>
        AttackAsync(40, 64L << 20, 8, ["--max-pending-input", "64Mi"], token);

    [Test, CancelAfter(120_000), Category("Long"), Category("hostile")]
    public async Task A_server_as_it_is_under_attack_by_a_thousand_connections_also_answers_health_within_a_second(CancellationToken token)
    {
        double[] health = await AttackAsync(1000, new ContainerRunnerServiceOptions().MaxPendingInputBytes, 40, [], token);
        Assert.That(health[health.Length * 95 / 100], Is.LessThan(1));
    }

    private async Task<double[]> AttackAsync(int connections, long pending, int seconds, string[] options, CancellationToken token)
    {
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), ["start", "-c", Cache, .. options]);
        string image = Write(TestImage.Command("cat"));
        var client = new Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient(Connect(xfn.Address));
        var health = new Health.HealthClient(Connect(xfn.Address));
        await client.RunFunctionAsync(new() { Image = image }, cancellationToken: token);

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        stop.CancelAfter(TimeSpan.FromSeconds(seconds));
        var attack = new Attack(() => Handler(xfn.Address), stop.Token);
        Task attacking = Task.WhenAll(Enumerable.Range(0, connections).Select(attack.ConnectAsync));
        var answered = new ConcurrentBag<double>();
        int served = 0;
        Task caring = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                long begun = Stopwatch.GetTimestamp();
                await health.CheckAsync(new(), cancellationToken: token);
                answered.Add(Stopwatch.GetElapsedTime(begun).TotalSeconds);
                await Task.Delay(100, token);
            }
        }, token);
        var input = ByteString.CopyFrom(new byte[100_000]);
        while (!stop.IsCancellationRequested)
        {
            Protocol.RunFunctionResponse response = await client.RunFunctionAsync(new() { Image = image, Input = input }, cancellationToken: token);
            Assert.That(response.Output.ToByteArray(), Is.EqualTo(input.ToByteArray()));
            served++;
        }

        await attacking;
        await caring;
        Assert.That(xfn.HasExited, Is.False, xfn.Log);
        long peak = xfn.PeakMemory;
        TimeSpan cpu = xfn.CpuTime;
        xfn.Terminate();
        await xfn.WaitAsync(token);
        double[] sorted = [.. answered.Order()];
        TestContext.Out.WriteLine(
            $"{connections} connections, {attack.Calls} calls, {attack.Sent >> 20} MiB sent; {peak >> 20} MiB at most; health within {sorted[^1]:0.000} s, median {sorted[sorted.Length / 2]:0.000}; {served} runs; {cpu.TotalSeconds:0} s of processor time, {Environment.CpuUsage.TotalTime.TotalSeconds:0} of the attackers, {xfn.Log.Length >> 10} KiB of log; " + attack.Answers);
        Assert.Multiple(() =>
        {
            Assert.That(peak, Is.LessThan(BaseBytes + (2 * pending) + (connections * BytesOfConnection)));
            Assert.That(served, Is.Positive);
        });
        return sorted;
    }

    [Test, CancelAfter(60_000)]
    public async Task Inputs_are_counted_before_they_are_whole_and_the_largest_makes_room(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.MaxPendingInputBytes = 1 << 20);
        await using var hostile = new RawCall(Handler(server.Address), 900_000, token);
        await hostile.Sent.WaitAsync(token);
        var client = Client(server);
        Assert.That((await client.RunFunctionAsync(new() { Image = "x", Input = ByteString.CopyFrom(new byte[300_000]) }, cancellationToken: token)).Output.Length, Is.EqualTo(300_000));
        (StatusCode status, string? error) = await hostile.AnswerAsync(token);
        Assert.That((status, error), Is.EqualTo((StatusCode.ResourceExhausted, "busy")));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_request_whose_bytes_stop_coming_is_ended_and_other_calls_of_its_connection_go_on(CancellationToken token)
    {
        var end = new TaskCompletionSource();
        var runner = new StubRunner(async (request, cancel) =>
        {
            await end.Task.WaitAsync(cancel);
            return new RunFunctionResponse();
        });
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName(), o => o.InputPatience = TimeSpan.FromMilliseconds(300));
        SocketsHttpHandler connection = Handler(server.Address);
        await using var complete = new RawCall(connection, RawCall.Compress(new Protocol.RunFunctionRequest { Image = "x" }.ToByteArray()), token);
        await Eventually(() => runner.Running == 1, TimeSpan.FromSeconds(20), "the call does not come", token);
        await using var hostile = new RawCall(connection, 50_000, token);
        (StatusCode status, string? error) = await hostile.AnswerAsync(token);
        Assert.That((status, error), Is.EqualTo((StatusCode.Unavailable, "failed")));
        end.SetResult();
        Assert.That((await complete.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.OK));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_small_message_that_becomes_large_is_refused_before_it_is(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.MaxInputBytes = 1 << 20);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        await using var hostile = new RawCall(Handler(server.Address), RawCall.Bomb(256), token);
        Assert.That((await hostile.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(GC.GetTotalAllocatedBytes(precise: true) - before, Is.LessThan(64 << 20), "of 256 MiB a twentieth was decompressed");

        // What is allowed comes through.
        var request = new Protocol.RunFunctionRequest { Image = "x", Input = ByteString.CopyFrom(new byte[500_000]) };
        await using var honest = new RawCall(Handler(server.Address), RawCall.Compress(request.ToByteArray()), token);
        Assert.That((await honest.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.OK));
    }

    [Test, CancelAfter(60_000)]
    public async Task Requests_to_health_are_as_bounded_as_runs(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.InputPatience = TimeSpan.FromMilliseconds(300));
        await using var large = new RawCall(Handler(server.Address), 1 << 20, token, RawCall.Health);
        Assert.That((await large.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.ResourceExhausted));
        await using var stalled = new RawCall(Handler(server.Address), 100, token, RawCall.Health, announced: 1000);
        Assert.That((await stalled.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.Unavailable));
    }
}
