using Grpc.AspNetCore.Server.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Xfn.Core.Server;

namespace Xfn.Core;

/// <summary>Serves a runner by gRPC: by itself, or as part of an ASP.NET Core application.</summary>
public static class ContainerRunnerServiceExtensions
{
    private const string LogCategory = "Xfn.Core.Server";

    /// <summary>Serves a runner until it is cancelled; functions that run then may end, within <see cref="ContainerRunnerServerOptions.DrainTime"/>.</summary>
    /// <param name="runner">What runs the functions. It is not disposed.</param>
    /// <param name="network"><c>unix</c> or <c>tcp</c>.</param>
    /// <param name="address">For <c>unix</c> a path, or <c>@</c> and a name in Linux's abstract namespace; for <c>tcp</c> <c>HOST:PORT</c>, with an IP address, <c>localhost</c>, or nothing
    /// for all addresses as the host.</param>
    /// <param name="configure">Sets options.</param>
    /// <param name="cancellationToken">Stops serving; the task then ends in good order.</param>
    /// <inheritdoc cref="ContainerRunnerServer.StartAsync" path="/exception"/>
    public static async Task ListenAndServeAsync(
        this IContainerRunner runner, string network, string address, Action<ContainerRunnerServerOptions>? configure = null, CancellationToken cancellationToken = default)
    {
        var options = new ContainerRunnerServerOptions();
        configure?.Invoke(options);
        ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(runner, network, address, options, cancellationToken).ConfigureAwait(false);
        await using (server.ConfigureAwait(false))
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await server.StopAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Adds what <see cref="MapContainerRunner(IEndpointRouteBuilder)"/> needs. The application registers its <see cref="IContainerRunner"/> itself, and decides who may call: addresses, TLS,
    /// authorization, health and reflection are the application's.</summary>
    /// <param name="services">The application's services.</param>
    /// <param name="configure">Sets what callers may ask for.</param>
    public static IServiceCollection AddContainerRunnerGrpc(this IServiceCollection services, Action<ContainerRunnerServiceOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        var options = new ContainerRunnerServiceOptions();
        configure?.Invoke(options);
        return services.AddContainerRunnerGrpc(provider => RequestPolicy.From(options, provider.GetRequiredService<IContainerRunner>()));
    }

    /// <summary>Maps the service <c>apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService</c>.</summary>
    /// <param name="endpoints">The application.</param>
    /// <returns>The endpoint, for the application's conventions: authorization, hosts.</returns>
    /// <exception cref="InvalidOperationException"><see cref="AddContainerRunnerGrpc(IServiceCollection, Action{ContainerRunnerServiceOptions})"/> was not called, or no <see cref="IContainerRunner"/> was registered.</exception>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    public static IEndpointConventionBuilder MapContainerRunner(this IEndpointRouteBuilder endpoints)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        if (endpoints.ServiceProvider.GetService<RunGate>() is null)
            throw new InvalidOperationException($"cannot map the container runner: its services are missing. Call {nameof(AddContainerRunnerGrpc)} on the application's services.");

        // Now, and not with the first call: a wrong option ought to stop the application.
        _ = endpoints.ServiceProvider.GetRequiredService<FunctionService>();
        RequestPolicy policy = endpoints.ServiceProvider.GetRequiredService<RequestPolicy>();
        ILogger logger = endpoints.ServiceProvider.GetRequiredService<ILoggerFactory>().CreateLogger(LogCategory);
        policy.Tell(policy.GiveDefaults(endpoints.ServiceProvider.GetRequiredService<IContainerRunner>()), logger);
        return CallShare.Count(endpoints.MapGrpcService<FunctionService>(), endpoints.ServiceProvider.GetRequiredService<CallMemory>(), policy.InputPatience, FunctionServiceSetup.MostBytes(policy), areRuns: true);
    }

    internal static IServiceCollection AddContainerRunnerGrpc(this IServiceCollection services, Func<IServiceProvider, RequestPolicy> policy)
    {
        services.AddSingleton<RunGate>();
        services.AddSingleton(provider => new CallMemory(provider.GetRequiredService<RequestPolicy>().MaxPendingInputBytes));
        services.AddSingleton(policy);
        services.AddSingleton(provider => new FunctionService(
            provider.GetRequiredService<IContainerRunner>(),
            provider.GetRequiredService<RequestPolicy>(),
            provider.GetRequiredService<RunGate>(),
            provider.GetRequiredService<ILoggerFactory>().CreateLogger(LogCategory)));
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IServiceMethodProvider<FunctionService>, FunctionMethods>());
        services.AddGrpc();
        services.AddSingleton<Microsoft.Extensions.Options.IConfigureOptions<Grpc.AspNetCore.Server.GrpcServiceOptions<FunctionService>>, FunctionServiceSetup>();
        return services;
    }
}
