using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests.Support;

/// <summary>A function that is served in this process, on loopback or a Unix socket.</summary>
internal sealed class FunctionServer : IAsyncDisposable
{
    private readonly WebApplication _application;

    private FunctionServer(WebApplication application) => _application = application;

    /// <summary>The paths that were called, in their order.</summary>
    public ConcurrentQueue<string> Calls { get; } = new();

    public string Address { get; private set; } = "";

    /// <summary>Serves what version 1 answers, or what version 1beta1 does, or both.</summary>
    public static Task<FunctionServer> ServeAsync(Answer? v1, Answer? v1Beta1 = null, string? socket = null, X509Certificate2? certificate = null, Action<IEndpointRouteBuilder>? besides = null) =>
        StartAsync(
            services =>
            {
                services.AddGrpc(o => (o.MaxReceiveMessageSize, o.MaxSendMessageSize) = (null, null));
                services.AddSingleton(new Answers(v1, v1Beta1));
            },
            endpoints =>
            {
                if (v1 is not null)
                    endpoints.MapGrpcService<Service>();
                if (v1Beta1 is not null)
                    endpoints.MapGrpcService<BetaService>();
                besides?.Invoke(endpoints);
            },
            socket,
            certificate);

    /// <summary>Serves bytes, whatever is called.</summary>
    public static Task<FunctionServer> ServeRawAsync(RequestDelegate answer) => StartAsync(_ => { }, endpoints => endpoints.MapFallback(answer), socket: null, certificate: null);

    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await _application.StopAsync(now.Token);
        await _application.DisposeAsync();
    }

    private static async Task<FunctionServer> StartAsync(Action<IServiceCollection> configure, Action<IEndpointRouteBuilder> map, string? socket, X509Certificate2? certificate)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddRoutingCore();
        configure(builder.Services);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            if (socket is null)
                kestrel.Listen(IPAddress.Loopback, 0, Listen);
            else
                kestrel.ListenUnixSocket(socket, Listen);
        });
        var server = new FunctionServer(builder.Build());
        server._application.Use((context, next) =>
        {
            server.Calls.Enqueue(context.Request.Path);
            return next(context);
        });
        map(server._application);
        await server._application.StartAsync();
        server.Address = socket is null ? $"127.0.0.1:{new Uri(server._application.Urls.Single()).Port}" : $"unix:{socket}";
        return server;

        void Listen(ListenOptions options)
        {
            options.Protocols = HttpProtocols.Http2;
            if (certificate is not null)
                options.UseHttps(certificate);
        }
    }

    /// <summary>What a function answers.</summary>
    public delegate Task<Protocol.RunFunctionResponse> Answer(Protocol.RunFunctionRequest request, ServerCallContext context);

    private sealed record Answers(Answer? V1, Answer? V1Beta1);

    private sealed class Service(Answers answers) : FunctionRunnerService.FunctionRunnerServiceBase
    {
        public override Task<Protocol.RunFunctionResponse> RunFunction(Protocol.RunFunctionRequest request, ServerCallContext context) => answers.V1!(request, context);
    }

    private sealed class BetaService(Answers answers) : Protocol.V1Beta1.FunctionRunnerService.FunctionRunnerServiceBase
    {
        public override Task<Protocol.RunFunctionResponse> RunFunction(Protocol.RunFunctionRequest request, ServerCallContext context) => answers.V1Beta1!(request, context);
    }
}
