using System.Net.Sockets;
using System.Text.Json.Nodes;
using Grpc.Net.Client;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server.Tests.Support;

/// <summary>Servers for a test, and a look around afterwards.</summary>
internal abstract class ServerFixture : RunnerFixture
{
    private readonly List<ContainerRunnerServer> _servers = [];
    private readonly List<IDisposable> _channels = [];
    private readonly List<ContainerRunner> _runners = [];

    // Named so that it comes before the look around: NUnit takes those of the derived class first.
    [TearDown]
    public async Task StopServers()
    {
        foreach (IDisposable channel in _channels)
            channel.Dispose();
        foreach (ContainerRunnerServer server in _servers)
            await server.DisposeAsync();
        foreach (ContainerRunner runner in _runners)
            await runner.DisposeAsync();
        _channels.Clear();
        _servers.Clear();
        _runners.Clear();
    }

    /// <summary>The runner itself, whose limits a server takes over.</summary>
    protected new ContainerRunner NewRunner(Action<ContainerRunnerOptions>? configure = null)
    {
        var runner = new ContainerRunner(o =>
        {
            o.WithCacheDir(Cache);
            configure?.Invoke(o);
        });
        _runners.Add(runner);
        return runner;
    }

    /// <summary>A name that no other test uses, in the abstract namespace.</summary>
    protected static string AbstractName() => $"@xfn-test/{Guid.NewGuid():N}/default.sock";

    /// <summary>What gRPC calls an abstract address.</summary>
    protected static string Target(ContainerRunnerServer server) => server.Address[0] switch
    {
        '@' => "unix-abstract:" + server.Address[1..],
        '/' => "unix:" + server.Address,
        _ => server.Address,
    };

    protected Task<ContainerRunnerServer> ServeAsync(Action<ContainerRunnerServerOptions>? configure = null) => ServeAsync(NewRunner(), "unix", AbstractName(), configure);

    protected async Task<ContainerRunnerServer> ServeAsync(IContainerRunner runner, string network, string address, Action<ContainerRunnerServerOptions>? configure = null)
    {
        var options = new ContainerRunnerServerOptions { AllowLocalImages = true };
        configure?.Invoke(options);
        ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(runner, network, address, options);
        _servers.Add(server);
        return server;
    }

    protected GrpcChannel Connect(ContainerRunnerServer server) => Connect(server.Address);

    protected GrpcChannel Connect(string address)
    {
        var channel = GrpcChannel.ForAddress(
            "http://localhost", new GrpcChannelOptions { HttpHandler = Handler(address), DisposeHttpClient = true, MaxReceiveMessageSize = null, MaxSendMessageSize = null });
        _channels.Add(channel);
        return channel;
    }

    /// <summary>Connects to a Unix socket.</summary>
    protected internal static SocketsHttpHandler Handler(string address) => new()
    {
        ConnectCallback = async (_, token) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(address[0] == '@' ? "\0" + address[1..] : address), token);
            return new NetworkStream(socket, ownsSocket: true);
        },
        MaxResponseHeadersLength = 128,
    };

    protected Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient Client(ContainerRunnerServer server) => new(Connect(server));

    protected static JsonObject Call(string image, byte[]? input = null, int? timeout = null, double? deadline = null)
    {
        var call = new JsonObject { ["image"] = image, ["input"] = Convert.ToBase64String(input ?? []) };
        if (timeout is not null)
            call["timeout"] = timeout;
        if (deadline is not null)
            call["deadline"] = deadline;
        return call;
    }

    /// <summary>Waits until something is so, as long as the test may take.</summary>
    protected static async Task Eventually(Func<bool> condition, string what, CancellationToken token)
    {
        for (; !condition(); await Task.Delay(10, token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing))
            Assert.That(token.IsCancellationRequested, Is.False, what);
    }

    /// <summary>A command that no other test of this machine runs at the same time.</summary>
    protected static string UniqueSleep(int seconds = 1000) => $"sleep {seconds}.{Random.Shared.Next(100_000, 1_000_000)}";

    /// <summary>Whether some process of this machine has a command line.</summary>
    protected static bool IsRunning(string command) => Directory.GetDirectories("/proc").Any(d =>
    {
        try
        {
            return File.ReadAllText(Path.Combine(d, "cmdline")).Replace('\0', ' ').TrimEnd() == command;
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    });
}
