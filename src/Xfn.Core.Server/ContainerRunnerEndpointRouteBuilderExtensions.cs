using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xfn.Core;
using Xfn.Core.Server;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps the gRPC service of a runner.</summary>
public static class ContainerRunnerEndpointRouteBuilderExtensions
{
    /// <summary>Maps the service <c>apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService</c>.</summary>
    /// <param name="endpoints">The application.</param>
    /// <returns>The endpoint, for the application's conventions: authorization, hosts.</returns>
    /// <exception cref="InvalidOperationException"><c>AddContainerRunnerGrpc</c> was not called, or no
    /// <see cref="IContainerRunner"/> was registered.</exception>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    public static IEndpointConventionBuilder MapContainerRunner(this IEndpointRouteBuilder endpoints)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        IServiceProvider services = endpoints.ServiceProvider;
        if (services.GetService<CallGate>() is null)
        {
            throw new InvalidOperationException(
                "cannot map the container runner: its services are missing. Call AddContainerRunnerGrpc on the application's services.");
        }

        // Now, and not with the first call: a wrong option ought to stop the application.
        _ = services.GetRequiredService<RunService>();
        RequestPolicy policy = services.GetRequiredService<RequestPolicy>();
        ILogger logger = services.GetRequiredService<ILoggerFactory>().CreateLogger(ContainerRunnerGrpcServiceCollectionExtensions.LogCategory);
        policy.Tell(policy.GiveDefaults(services.GetRequiredService<IContainerRunner>()), logger);
        return CallShare.Count(
            endpoints.MapGrpcService<RunService>(), services.GetRequiredService<CallMemory>(), policy.InputPatience, policy.MaxMessageBytes, areRuns: true);
    }
}
