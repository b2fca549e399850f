using System.Net;
using System.Net.Sockets;
using System.Text;
using DebianImages;
using Grpc.Core;
using Grpc.Net.Client;

namespace Xfn.Core.Benchmarks;

/// <summary>Containers that live: their start, what is executed in them, connections and calls into them, many of them,
/// and what one costs that does nothing.</summary>
internal static class ServiceRows
{
    private const int RedisPort = 6379, FunctionPort = 9443;

    private static readonly Marshaller<byte[]> Bytes = Marshallers.Create(bytes => bytes, bytes => bytes);
    private static readonly Method<byte[], byte[]> CheckHealth = new(MethodType.Unary, "grpc.health.v1.Health", "Check", Bytes, Bytes);

    public static async Task AddAsync(Bench bench)
    {
        string image = bench.Images.Tiny("/bin/busybox", "sleep", "100000");
        await using (ContainerRunner runner = bench.MakeRunner())
            await AddExecsAsync(bench, runner, image);
        await AddConnectionsAsync(bench);
        await using (ContainerRunner runner = bench.MakeRunner())
            await AddCallsAsync(bench, runner);
        await using (ContainerRunner runner = bench.MakeRunner())
            await AddManyAsync(bench, runner, image);
        await using (ContainerRunner runner = bench.MakeRunner(o => o.ReadyNamespaces = 0))
            await AddIdleAsync(bench, runner, image);
    }

    private static async Task AddExecsAsync(Bench bench, ContainerRunner runner, string image)
    {
        await using PeerLoop run = PeerLoop.Crun(bench);
        RunningContainer? started = null;
        await bench.CompareAsync(
            "a container started, and cat executed in it",
            100,
            new("ours", async () => await ExecAsync(started = await StartAsync(runner, image))) { After = async () => await started!.DisposeAsync() },
            new Way("crun run", run.RunAsync) { IsPeer = true });

        await using PeerLoop exec = PeerLoop.CrunExec(bench);
        await using RunningContainer container = await StartAsync(runner, image);
        await bench.CompareAsync("cat executed in a container that lives", 200, new("ours", () => ExecAsync(container)), new Way("crun exec", exec.RunAsync) { IsPeer = true });
    }

    /// <summary>To one redis through its container's own network, and to another on the machine's loopback.</summary>
    private static async Task AddConnectionsAsync(Bench bench)
    {
        var images = new InMemoryImageFetcher();
        images.AddRedis("redis");
        await using ContainerRunner runner = bench.MakeRunner(o => o.ImageFetcher = images);
        var plain = new IPEndPoint(IPAddress.Loopback, FreePort());
        await using RunningContainer apart = await runner.StartAsync(new ContainerRequest { Image = "redis", Ready = Ready.Listens(RedisPort) });
        await using RunningContainer beside = await runner.StartAsync(new ContainerRequest
        {
            Image = "redis",
            Arguments = ["--bind", $"{plain.Address}", "--port", $"{plain.Port}"],
            Network = NetworkPolicy.Runner,
            Ready = Ready.LogLine("Ready to accept connections"),
        });

        await bench.CompareAsync(
            "100 new connections",
            50,
            new("ours", () => ConnectAsync(() => apart.ConnectAsync(RedisPort))),
            new Way("plain loopback", () => ConnectAsync(() => ConnectAsync(plain))));

        await using Stream ours = await apart.ConnectAsync(RedisPort), theirs = await ConnectAsync(plain);
        await bench.CompareAsync("1,000 requests on a connection", 50, new("ours", () => AskAsync(ours)), new Way("plain loopback", () => AskAsync(theirs)));

        IPEndPoint forwarded = await apart.ForwardAsync(RedisPort);
        await bench.CompareAsync(
            "20,000 GETs by 20 clients of a forwarded port",
            10,
            new("ours", () => LoadAsync(beside, forwarded)),
            new Way("plain loopback", () => LoadAsync(beside, plain)));
    }

    /// <summary>Of a gRPC server in C#, as native code: samples/GreetingFunction.</summary>
    private static async Task AddCallsAsync(Bench bench, ContainerRunner runner)
    {
        const string program = "/usr/bin/greeting-function";
        string image = bench.Images.Program(program, "--insecure");
        var request = new ContainerRequest { Image = image, Ready = Ready.Listens(FunctionPort) };
        RunningContainer? started = null;
        int port = FreePort();
        await using PodmanServer podman = await PodmanServer.MakeAsync(bench, image, port, FunctionPort);
        await bench.CompareAsync(
            "a gRPC server started, and its first answer",
            50,
            new("ours", async () =>
            {
                started = await runner.StartAsync(request);
                using GrpcChannel channel = Channel(started.CreateHandler(), FunctionPort);
                await CallAsync(channel);
            })
            { After = async () => await started!.DisposeAsync() },
            new Way("podman run -p", async () =>
            {
                await podman.StartAsync();
                await CallWhenReadyAsync(port);
            })
            { IsPeer = true, Every = 10, After = podman.StopAsync });

        await using RunningContainer apart = await runner.StartAsync(request);
        await using RunningContainer beside = await runner.StartAsync(new ContainerRequest
        {
            Image = image,
            Entrypoint = [program, "--insecure", "--address", $"127.0.0.1:{port}"],
            Network = NetworkPolicy.Runner,
        });
        using GrpcChannel ours = Channel(apart.CreateHandler(), FunctionPort), theirs = Channel(new SocketsHttpHandler { UseProxy = false }, port);
        await CallWhenReadyAsync(port);
        await bench.CompareAsync("1,000 unary calls on a connection", 30, new("ours", () => CallManyAsync(ours)), new Way("plain loopback", () => CallManyAsync(theirs)));
    }

    private static GrpcChannel Channel(HttpMessageHandler handler, int port) =>
        GrpcChannel.ForAddress($"http://127.0.0.1:{port}", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });

    private static async Task CallManyAsync(GrpcChannel channel)
    {
        for (int i = 0; i < 1_000; i++)
            await CallAsync(channel);
    }

    private static async Task CallAsync(GrpcChannel channel)
    {
        // HealthCheckResponse: status SERVING.
        byte[] answer = await channel.CreateCallInvoker().AsyncUnaryCall(CheckHealth, null, default, []);
        if (!answer.AsSpan().SequenceEqual((ReadOnlySpan<byte>)[8, 1]))
            throw new InvalidOperationException($"the server answered '{Convert.ToHexString(answer)}'");
    }

    private static async Task CallWhenReadyAsync(int port)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                // Whoever forwards a port may take connections before there is anybody to take them.
                using GrpcChannel channel = Channel(new SocketsHttpHandler { UseProxy = false }, port);
                await CallAsync(channel);
                return;
            }
            catch (RpcException) when (attempt < 10_000)
            {
                await Task.Delay(1);
            }
        }
    }

    private static async Task AddManyAsync(Bench bench, ContainerRunner runner, string image)
    {
        int count = bench.IsQuick ? 20 : 200;
        RunningContainer[] containers = [];
        await bench.ListAsync(
            "containers at once",
            3,
            new($"{count} started", async () => containers = await Task.WhenAll(Enumerable.Range(0, count).Select(_ => StartAsync(runner, image)))),
            new Way($"{count} stopped", () => Task.WhenAll(containers.Select(container => container.DisposeAsync().AsTask()))));
    }

    private static async Task AddIdleAsync(Bench bench, ContainerRunner runner, string image)
    {
        const int count = 20;
        TimeSpan time = TimeSpan.FromSeconds(bench.IsQuick ? 2 : 20);
        RunningContainer[] containers = await Task.WhenAll(Enumerable.Range(0, count).Select(_ => StartAsync(runner, image)));
        try
        {
            await ExecAsync(containers[0]);
            await Task.Delay(TimeSpan.FromSeconds(2));
            int[] ours = [.. Sparks()];
            TimeSpan host = Environment.CpuUsage.TotalTime;
            double sparks = ours.Sum(Processes.ProcessorMilliseconds);
            await Task.Delay(time);
            string table = $"{time.TotalSeconds:0} seconds of {count} idle containers";
            bench.Note(table, "processor time of the host", (Environment.CpuUsage.TotalTime - host).TotalMilliseconds);
            bench.Note(table, "processor time of their sparks", ours.Sum(Processes.ProcessorMilliseconds) - sparks);
            bench.Note(table, "memory of one's spark, and of the unshare above it (PSS)", mebibytes: ours.Sum(Processes.ProportionalMiB) / count);
        }
        finally
        {
            await Task.WhenAll(containers.Select(container => container.DisposeAsync().AsTask()));
        }
    }

    private static Task<RunningContainer> StartAsync(ContainerRunner runner, string image) => runner.StartAsync(new ContainerRequest { Image = image });

    private static async Task ExecAsync(RunningContainer container)
    {
        ExecResult result = await container.ExecAsync(["/bin/busybox", "cat"], new ExecOptions { Input = Peers.Input });
        if (!result.StdoutBytes.Span.SequenceEqual(Peers.Input))
            throw new InvalidOperationException($"cat answered '{result.Stdout}', and '{result.Stderr}'");
    }

    private static async Task ConnectAsync(Func<Task<Stream>> connect)
    {
        for (int i = 0; i < 100; i++)
            await (await connect()).DisposeAsync();
    }

    private static async Task<Stream> ConnectAsync(IPEndPoint endpoint)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(endpoint);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private static async Task AskAsync(Stream redis)
    {
        byte[] question = "PING\r\n"u8.ToArray(), answer = new byte["+PONG\r\n".Length];
        for (int i = 0; i < 1_000; i++)
        {
            await redis.WriteAsync(question);
            await redis.ReadExactlyAsync(answer);
        }

        if (!answer.AsSpan().SequenceEqual("+PONG\r\n"u8))
            throw new InvalidOperationException($"redis answered '{Encoding.UTF8.GetString(answer)}'");
    }

    /// <summary>By redis's own program, in a container that is in the machine's network.</summary>
    private static async Task LoadAsync(RunningContainer client, IPEndPoint redis)
    {
        ExecResult result = await client.ExecAsync(["redis-benchmark", "-h", $"{redis.Address}", "-p", $"{redis.Port}", "-c", "20", "-n", "20000", "-t", "get", "-q"]);
        if (result.ExitCode != 0 || !result.Stdout.Contains("requests per second", StringComparison.Ordinal))
            throw new InvalidOperationException($"redis-benchmark ended with status {result.ExitCode}: {result.Stdout}{result.Stderr}");
    }

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    /// <summary>Each <c>unshare</c> that this process started, and the spark below it.</summary>
    private static IEnumerable<int> Sparks() => Processes.Children(Environment.ProcessId).SelectMany(unshare => (IEnumerable<int>)[unshare, .. Processes.Children(unshare)]);
}
