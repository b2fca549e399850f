using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Moq;
using Xfn.Core.Server.Tests.Support;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server.Tests;

/// <summary>A gRPC server as a function: a channel that knows of no containers calls it. The server is this process's; where
/// its connections lead is the only thing that a container adds.</summary>
internal sealed class FunctionServiceTests : ServerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_channel_calls_a_grpc_server_and_its_calls_count_until_their_end(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName());
        await using var service = new FunctionService(Host(new(), async cancelled =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint("\0" + server.Address[1..]), cancelled);
            return new NetworkStream(socket, ownsSocket: true);
        }), new ContainerRequest { Image = "example.org/grpc" }, o => o.MaxConcurrency = 1);
        using var channel = GrpcChannel.ForAddress("http://function", new GrpcChannelOptions { HttpHandler = service.CreateHandler(), DisposeHttpClient = true });
        var health = new Health.HealthClient(channel);
        Assert.That((await health.CheckAsync(new HealthCheckRequest(), cancellationToken: token)).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));

        // A stream is a call that goes on, and the only one that an instance takes here.
        AsyncServerStreamingCall<HealthCheckResponse> watch = health.Watch(new HealthCheckRequest(), cancellationToken: token);
        Assert.That(await watch.ResponseStream.MoveNext(token), Is.True);
        Task<HealthCheckResponse> waiting = health.CheckAsync(new HealthCheckRequest(), cancellationToken: token).ResponseAsync;
        await Assert.ThrowsAsync<TimeoutException>(() => waiting.WaitAsync(TimeSpan.FromMilliseconds(200), token));
        watch.Dispose();
        Assert.That((await waiting).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));

        // Statuses and trailers come through.
        var client = new Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient(channel);
        RpcException refused = (await Assert.ThrowsAsync<RpcException>(() => client.RunFunctionAsync(new() { Image = "" }, cancellationToken: token).ResponseAsync))!;
        Assert.That(refused.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_channel_is_told_that_its_server_is_unavailable_when_the_container_ends(CancellationToken token)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var exited = new TaskCompletionSource<ContainerExit>();
        await using var service = new FunctionService(Host(exited, async cancelled =>
        {
            if (exited.Task.IsCompleted)
                throw new IOException("nobody listens");
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(listener.LocalEndpoint, cancelled);
            return new NetworkStream(socket, ownsSocket: true);
        }), new ContainerRequest { Image = "example.org/grpc" });
        using var channel = GrpcChannel.ForAddress("http://function", new GrpcChannelOptions { HttpHandler = service.CreateHandler(), DisposeHttpClient = true });
        Task call = new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest(), cancellationToken: token).ResponseAsync;

        // It hears of the call, and ends.
        using (Socket server = await listener.AcceptSocketAsync(token))
        {
            Assert.That(await server.ReceiveAsync(new byte[1], token), Is.EqualTo(1));
            exited.SetResult(new ContainerExit { ExitCode = 9, EndedBy = ContainerEnd.Itself });
        }

        RpcException lost = (await Assert.ThrowsAsync<RpcException>(() => call))!;
        Assert.That(lost.StatusCode, Is.EqualTo(StatusCode.Unavailable), lost.ToString());
        Assert.That(lost.ToString(), Does.Contain("it exited with status 9"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_channel_is_told_when_no_container_can_be_started(CancellationToken token)
    {
        var host = new Mock<IContainerHost>();
        host.Setup(h => h.StartAsync(It.IsAny<ContainerRequest>(), It.IsAny<CancellationToken>())).ThrowsAsync(new ContainerNotReadyException("cannot wait any longer"));
        await using var service = new FunctionService(host.Object, new ContainerRequest { Image = "example.org/grpc" });
        using var channel = GrpcChannel.ForAddress("http://function", new GrpcChannelOptions { HttpHandler = service.CreateHandler(), DisposeHttpClient = true });
        RpcException failed = (await Assert.ThrowsAsync<RpcException>(() => new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest(), cancellationToken: token).ResponseAsync))!;
        Assert.That((failed.StatusCode, failed.Status.DebugException?.InnerException?.GetType()), Is.EqualTo((StatusCode.Internal, typeof(ContainerNotReadyException))));
    }

    /// <summary>Starts one container, whose connections lead elsewhere.</summary>
    private static IContainerHost Host(TaskCompletionSource<ContainerExit> exited, Func<CancellationToken, Task<Stream>> connect)
    {
        var container = new Mock<RunningContainer> { CallBase = true };
        container.Setup(c => c.Image).Returns("example.org/grpc");
        container.Setup(c => c.Exited).Returns(exited.Task);
        container.Setup(c => c.ReadLogsAsync(false, It.IsAny<CancellationToken>())).Returns(AsyncEnumerable.Empty<LogLine>());
        container.Setup(c => c.ConnectAsync(80, It.IsAny<CancellationToken>())).Returns((int _, CancellationToken token) => connect(token));
        container.Setup(c => c.DisposeAsync()).Returns(() =>
        {
            exited.TrySetResult(new ContainerExit { ExitCode = 0, EndedBy = ContainerEnd.Disposal });
            return ValueTask.CompletedTask;
        });
        var host = new Mock<IContainerHost>();
        host.Setup(h => h.StartAsync(It.IsAny<ContainerRequest>(), It.IsAny<CancellationToken>())).ReturnsAsync(container.Object);
        return host.Object;
    }
}
