using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Xfn.Core.Server.Tests.Support;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server.Tests;

/// <summary><c>xfn start</c> under load, with all kinds of failing functions, for XFN_SOAK_SECONDS or 8.</summary>
internal sealed class SoakTests : ServerFixture
{
    private const int Callers = 8;

    private static readonly int Seconds = int.Parse(Environment.GetEnvironmentVariable("XFN_SOAK_SECONDS") ?? "8", CultureInfo.InvariantCulture);

    [Test, CancelAfter(120_000)]
    public async Task Memory_and_descriptors_stay_level_and_health_is_answered_throughout(CancellationToken token)
    {
        token = Limit(token);
        (string Name, StatusCode Status, Protocol.RunFunctionRequest Request)[] kinds = Kinds();
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), "-c", Cache, "--max-timeout=60s");
        GrpcChannel channel = Connect(xfn.Address);
        var client = new Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient(channel);

        // Every image is in the cache, and every path of the code has been taken once, before anything is measured.
        foreach ((string name, StatusCode status, Protocol.RunFunctionRequest request) in kinds)
            Assert.That(await CallAsync(client, name, request, token), Is.EqualTo(status), name);

        using var end = CancellationTokenSource.CreateLinkedTokenSource(token);
        end.CancelAfter(TimeSpan.FromSeconds(Seconds));
        var times = new ConcurrentDictionary<string, ConcurrentBag<double>>();
        var wrong = new ConcurrentQueue<string>();
        Task[] callers = [.. Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
        {
            var random = new Random(caller);
            while (!end.IsCancellationRequested)
            {
                // Half of the calls are of the usual kind.
                (string name, StatusCode status, Protocol.RunFunctionRequest request) = kinds[random.Next(2) == 0 ? 0 : random.Next(kinds.Length)];
                long begun = Stopwatch.GetTimestamp();
                StatusCode answer = await CallAsync(client, name, request, token);
                times.GetOrAdd(name, _ => []).Add(Stopwatch.GetElapsedTime(begun).TotalMilliseconds);
                if (answer != status)
                    wrong.Enqueue($"{name}: {answer}");
            }
        }))];
        List<(double Second, long Memory, int Descriptors, double Health)> samples = await SampleAsync(xfn, end.Token);
        await Task.WhenAll(callers);

        var report = new StringBuilder();
        report.AppendLine(CultureInfo.InvariantCulture, $"{Seconds} s, {Callers} callers, {times.Sum(t => t.Value.Count) / (double)Seconds:0.0} calls a second");
        foreach ((string name, ConcurrentBag<double> all) in times.OrderBy(t => t.Key))
        {
            double[] sorted = [.. all.Order()];
            report.AppendLine(CultureInfo.InvariantCulture, $"{name}: {sorted.Length} calls, median {sorted[sorted.Length / 2]:0.0} ms, 99 % {sorted[sorted.Length * 99 / 100]:0.0} ms");
        }

        foreach ((double second, long memory, int descriptors, double health) in samples.Where((_, i) => i % Math.Max(1, samples.Count / 12) == 0))
            report.AppendLine(CultureInfo.InvariantCulture, $"after {second:0} s: {memory / 1048576.0:0.0} MiB, {descriptors} descriptors, health answered in {health:0} ms");
        TestContext.Out.Write(report);

        Assert.That(wrong, Is.Empty);

        // The collector gives memory back when it likes; what leaks shows as growth from one third to the next.
        int third = samples.Count / 3;
        long middle = samples.Skip(third).Take(third).Max(s => s.Memory), late = samples.Skip(2 * third).Max(s => s.Memory);
        Assert.That(late, Is.LessThan(middle + (64 << 20)));
        await Eventually(() => xfn.Descriptors <= samples[0].Descriptors, "descriptors stay open", token);

        xfn.Terminate();
        await xfn.WaitAsync(token);
        Assert.That(xfn.ExitCode, Is.Zero);
    }

    [Test, Category("Long"), CancelAfter(120_000)]
    public async Task The_socket_adds_little_to_a_run(CancellationToken token)
    {
        ContainerRunner runner = NewRunner();
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName());
        Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient client = Client(server);
        string image = Write(TestImage.Command("cat"));
        byte[] input = new byte[1000];
        var local = new List<double>();
        var remote = new List<double>();
        int runs = Seconds > 20 ? 200 : 30;
        for (int i = -10; i < runs; i++)
        {
            long begun = Stopwatch.GetTimestamp();
            await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input }, token);
            long between = Stopwatch.GetTimestamp();
            await client.RunFunctionAsync(new Protocol.RunFunctionRequest { Image = image, Input = ByteString.CopyFrom(input) }, cancellationToken: token);
            if (i < 0)
                continue;
            local.Add(Stopwatch.GetElapsedTime(begun, between).TotalMilliseconds);
            remote.Add(Stopwatch.GetElapsedTime(between).TotalMilliseconds);
        }

        static string Figures(List<double> all) =>
            string.Create(CultureInfo.InvariantCulture, $"median {all.Order().ElementAt(all.Count / 2):0.00} ms, fastest tenth {all.Order().ElementAt(all.Count / 10):0.00} ms");
        TestContext.Out.WriteLine($"{runs} runs in process: {Figures(local)}; through the socket: {Figures(remote)}");

        // Of the fastest, because other tests' programs may keep the processors busy.
        Assert.That(remote.Order().ElementAt(runs / 10), Is.LessThan(local.Order().ElementAt(runs / 10) + 20));
    }

    /// <summary>The token of a test that takes no longer than usual.</summary>
    private static CancellationToken Limit(CancellationToken token) => Seconds > 20 ? CancellationToken.None : token;

    private static async Task<List<(double Second, long Memory, int Descriptors, double Health)>> SampleAsync(XfnProcess xfn, CancellationToken end)
    {
        // A connection of its own, as an orchestrator has.
        using GrpcChannel channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions { HttpHandler = Handler(xfn.Address), DisposeHttpClient = true });
        var health = new Health.HealthClient(channel);
        var samples = new List<(double, long, int, double)>();
        var clock = Stopwatch.StartNew();
        while (!end.IsCancellationRequested || samples.Count < 6)
        {
            long begun = Stopwatch.GetTimestamp();
            HealthCheckResponse answer = await health.CheckAsync(new HealthCheckRequest(), deadline: DateTime.UtcNow.AddSeconds(60), cancellationToken: CancellationToken.None);
            Assert.That(answer.Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
            samples.Add((clock.Elapsed.TotalSeconds, xfn.Memory, xfn.Descriptors, Stopwatch.GetElapsedTime(begun).TotalMilliseconds));
            await Task.Delay(500, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return samples;
    }

    private static async Task<StatusCode> CallAsync(
        Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient client, string name, Protocol.RunFunctionRequest request, CancellationToken token)
    {
        DateTime? deadline = name == "deadline" ? DateTime.UtcNow.AddMilliseconds(50) : null;
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(token);
        if (name == "cancelled")
            cancel.CancelAfter(100);
        try
        {
            Protocol.RunFunctionResponse response = await client.RunFunctionAsync(request, deadline: deadline, cancellationToken: cancel.Token);
            return response.Output.Length == request.Input.Length ? StatusCode.OK : StatusCode.DataLoss;
        }
        catch (RpcException ex)
        {
            return ex.StatusCode;
        }
    }

    private (string Name, StatusCode Status, Protocol.RunFunctionRequest Request)[] Kinds()
    {
        string cat = Write(TestImage.Command("cat"), "cat");
        Protocol.RunFunctionRequest Shell(string name, string script) => new() { Image = Write(TestImage.Shell(script), name), RunFunctionConfig = new() { Timeout = Duration.FromTimeSpan(TimeSpan.FromSeconds(60)) } };
        Protocol.RunFunctionRequest With(Protocol.RunFunctionRequest request, Action<Protocol.RunFunctionRequest> change)
        {
            change(request);
            return request;
        }

        return
        [
            ("cat", StatusCode.OK, new() { Image = cat, Input = ByteString.CopyFrom(new byte[1000]) }),
            ("cat 1 MiB", StatusCode.OK, new() { Image = cat, Input = ByteString.CopyFrom(new byte[1 << 20]) }),
            ("exit 3", StatusCode.Aborted, Shell("exit", "exit 3")),
            ("killed", StatusCode.Aborted, Shell("killed", "sh -c 'kill -9 $$'; exit $?")),
            ("much stderr", StatusCode.Aborted, Shell("stderr", "yes | head -c 1000000 >&2; exit 1")),
            ("timeout", StatusCode.DeadlineExceeded, With(Shell("sleep", "sleep 100"), r => r.RunFunctionConfig.Timeout = Duration.FromTimeSpan(TimeSpan.FromMilliseconds(100)))),
            ("deadline", StatusCode.DeadlineExceeded, Shell("sleep2", "sleep 100")),
            ("cancelled", StatusCode.Cancelled, Shell("sleep3", "sleep 100")),
            ("ignores stdin", StatusCode.OK, With(Shell("ignores", "head -c 500000 /dev/zero"), r => r.Input = ByteString.CopyFrom(new byte[500_000]))),
            ("no entrypoint", StatusCode.FailedPrecondition, new() { Image = Write(TestImage.Command("/nowhere"), "nowhere") }),
            ("no image", StatusCode.NotFound, new() { Image = "oci:" + Path.Combine(Scratch, "cat") + ":absent" }),
            ("not allowed", StatusCode.PermissionDenied, With(new() { Image = cat }, r => r.RunFunctionConfig = new() { Network = new() { Policy = Protocol.NetworkPolicy.Runner } })),
            ("no request", StatusCode.InvalidArgument, new() { Image = "A B" }),
        ];
    }
}
