using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Xfn.Core;
using Xfn.Core.Server;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds the gRPC service of a runner to an application's services.</summary>
public static class ContainerRunnerGrpcServiceCollectionExtensions
{
    internal const string LogCategory = "Xfn.Core.Server";

    /// <summary>Adds what <c>MapContainerRunner</c> needs. The application registers its <see cref="IContainerRunner"/>
    /// itself, and decides who may call: addresses, TLS, authorization, health and reflection are the
    /// application's.</summary>
    /// <param name="services">The application's services.</param>
    /// <param name="configure">Sets what callers may ask for. Null, the default, for the defaults.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddContainerRunnerGrpc(this IServiceCollection services, Action<ContainerRunnerServiceOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        var options = new ContainerRunnerServiceOptions();
        configure?.Invoke(options);
        return services.AddContainerRunnerGrpc(provider => RequestPolicy.From(options, provider.GetRequiredService<IContainerRunner>()));
    }

    internal static IServiceCollection AddContainerRunnerGrpc(this IServiceCollection services, Func<IServiceProvider, RequestPolicy> policy)
    {
        services.AddSingleton<CallGate>();
        services.AddSingleton(provider => new CallMemory(provider.GetRequiredService<RequestPolicy>().MaxPendingInputBytes));
        services.AddSingleton(policy);
        services.AddSingleton(provider => new RunService(
            provider.GetRequiredService<IContainerRunner>(),
            provider.GetRequiredService<RequestPolicy>(),
            provider.GetRequiredService<CallGate>(),
            provider.GetRequiredService<ILoggerFactory>().CreateLogger(LogCategory)));
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IServiceMethodProvider<RunService>, FunctionMethods>());
        services.AddGrpc();

        // The runner bounds outputs.
        services.AddOptions<GrpcServiceOptions<RunService>>().Configure<RequestPolicy>(
            (grpc, policy) => (grpc.MaxReceiveMessageSize, grpc.MaxSendMessageSize) = (policy.MaxMessageBytes, null));
        return services;
    }
}
