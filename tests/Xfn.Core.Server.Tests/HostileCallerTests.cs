using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Health.V1;
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
    public async Task A_server_as_it_is_under_attack_by_a_thousand_connections_also_answers_health_within_a_second(CancellationToken token) =>
        Assert.That(await AttackAsync(1000, new ContainerRunnerServiceOptions().MaxPendingInputBytes, 40, [], token), Is.All.LessThan(1));

    [Test, CancelAfter(60_000)]
    public async Task A_message_of_very_many_small_fields_is_refused_before_they_become_objects(CancellationToken token)
    {
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), ["start", "-c", Cache]);
        using SocketsHttpHandler handler = Handler(xfn.Address);

        // Field 2 (container) of 20,000,000 bytes: field 8 (mounts), empty, and again.
        byte[] message = [0x12, 0x80, 0xda, 0xc4, 0x09, .. Enumerable.Repeat((byte[])[0x42, 0], 10_000_000).SelectMany(mount => mount)];
        await using var call = new RawCall(handler, RawCall.Compress(message), token, RawCall.RunWithSettings);

        Assert.That((await call.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.InvalidArgument));
        long peak = xfn.PeakMemory;
        xfn.Terminate();
        await xfn.WaitAsync(token);
        Assert.That(peak, Is.LessThan(BaseBytes + (4 * message.Length)), xfn.Log);
    }

    /// <summary>Attacks a server, and asks it for its health and for runs meanwhile.</summary>
    /// <returns>The seconds that each answer of health took, of processor time where others held up the
    /// server.</returns>
    private async Task<double[]> AttackAsync(int connections, long pending, int seconds, string[] options, CancellationToken token)
    {
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), ["start", "-c", Cache, .. options]);
        string image = Write(TestImage.Command("cat"));
        var client = new Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient(Connect(xfn.Address));
        var health = new Health.HealthClient(Connect(xfn.Address));
        await client.RunFunctionAsync(new() { Image = image }, cancellationToken: token);

        await using AttackProcess attack = AttackProcess.Start(xfn.Address, connections, seconds);
        await attack.BeginsAsync(token);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        stop.CancelAfter(TimeSpan.FromSeconds(seconds));
        int served = 0;
        Task<(double Time, double Work)[]> caring = Task.Run(async () =>
        {
            // At a fixed pace: one that waits for its answer would ask least when answers take longest.
            var asked = new List<Task<(double Time, double Work)>>();
            for (; !stop.IsCancellationRequested; await Task.Delay(100, token))
                asked.Add(AskAsync());
            return await Task.WhenAll(asked);
        }, token);
        var input = ByteString.CopyFrom(new byte[100_000]);
        while (!stop.IsCancellationRequested || served == 0)
        {
            Protocol.RunFunctionResponse response = await client.RunFunctionAsync(new() { Image = image, Input = input }, cancellationToken: token);
            Assert.That(response.Output.ToByteArray(), Is.EqualTo(input.ToByteArray()));
            served++;
        }

        string attacked = await attack.EndAsync(token);
        (double Time, double Work)[] answered = await caring;
        Assert.That(xfn.HasExited, Is.False, xfn.Log);
        long peak = xfn.PeakMemory;
        TimeSpan cpu = xfn.CpuTime;
        xfn.Terminate();
        await xfn.WaitAsync(token);
        double[] times = [.. answered.Select(a => a.Time).Order()], work = [.. answered.Select(a => Math.Min(a.Time, a.Work)).Order()];
        TestContext.Out.WriteLine(
            $"{connections} connections, {attacked}; {peak >> 20} MiB at most; {times.Length} answers of health, {Spread(times)}, by the server's processor time {Spread(work)}; {served} runs; {cpu.TotalSeconds:0} s of processor time, {xfn.Log.Length >> 10} KiB of log");
        Assert.That(peak, Is.LessThan(BaseBytes + (2 * pending) + (connections * BytesOfConnection)));
        return work;

        static string Spread(double[] sorted) => $"median {sorted[sorted.Length / 2]:0.000} s, 95 of 100 within {sorted[sorted.Length * 95 / 100]:0.000}, all within {sorted[^1]:0.000}";

        async Task<(double Time, double Work)> AskAsync()
        {
            (long begun, TimeSpan worked) = (Stopwatch.GetTimestamp(), xfn.CpuTime);
            await health.CheckAsync(new(), cancellationToken: token);
            return (Stopwatch.GetElapsedTime(begun).TotalSeconds, (xfn.CpuTime - worked).TotalSeconds);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Inputs_are_counted_before_they_are_whole_and_the_largest_makes_room(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.MaxPendingInputBytes = 1 << 20);
        await using var hostile = new RawCall(Handler(server.Address), 900_000, token);
        await hostile.Sent.WaitAsync(token);
        var client = Client(server);

        // What was sent need not have arrived yet.
        Task<(StatusCode Status, string? Error)> answer = hostile.AnswerAsync(token);
        do
            Assert.That((await client.RunFunctionAsync(new() { Image = "x", Input = ByteString.CopyFrom(new byte[300_000]) }, cancellationToken: token)).Output.Length, Is.EqualTo(300_000));
        while (!answer.IsCompleted);
        Assert.That(await answer, Is.EqualTo((StatusCode.ResourceExhausted, "busy")));
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
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName(), o => o.InputPatience = TimeSpan.FromSeconds(2));
        SocketsHttpHandler connection = Handler(server.Address);
        await using var complete = new RawCall(connection, RawCall.Compress(new Protocol.RunFunctionRequest { Image = "x" }.ToByteArray()), token);
        await Eventually(() => runner.Running == 1, "the call does not come", token);
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
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.InputPatience = TimeSpan.FromSeconds(2));
        await using var large = new RawCall(Handler(server.Address), 1 << 20, token, RawCall.Health);
        Assert.That((await large.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.ResourceExhausted));
        await using var stalled = new RawCall(Handler(server.Address), 100, token, RawCall.Health, announced: 1000);
        Assert.That((await stalled.AnswerAsync(token)).Status, Is.EqualTo(StatusCode.Unavailable));
    }
}
