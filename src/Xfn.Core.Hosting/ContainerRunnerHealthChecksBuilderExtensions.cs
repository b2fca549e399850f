using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Xfn.Core;
using Xfn.Core.Hosting;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds checks of the host's runner, and of its containers, to its health checks.</summary>
public static class ContainerRunnerHealthChecksBuilderExtensions
{
    /// <summary>Adds a check of the host's <see cref="IContainerRunner"/>. Of a local one it tells whether this machine
    /// can run functions: degraded with the reasons when it can but something is slower, weaker or refused. Of a remote
    /// one it tells whether a server takes runs.</summary>
    /// <param name="builder">The host's health checks.</param>
    /// <param name="name">The check's name.</param>
    /// <param name="failureStatus">What to report when functions cannot be run; unhealthy when null.</param>
    /// <param name="tags">To choose among checks by.</param>
    /// <param name="keep">How long what was found of this machine is kept, since finding out starts a few processes.
    /// One minute when null.</param>
    public static IHealthChecksBuilder AddContainerRunnerCheck(
        this IHealthChecksBuilder builder, string name = "container_runner", HealthStatus? failureStatus = null, IEnumerable<string>? tags = null, TimeSpan? keep = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.TryAddSingleton<MachineReport>();
        return builder.Add(new HealthCheckRegistration(name, host => new ContainerRunnerHealthCheck(host, keep ?? MachineReport.DefaultKeep), failureStatus, tags));
    }

    /// <summary>Adds a check of the host's containers (<see cref="IContainers"/>). It fails when one of them has ended or was
    /// not started, and says how; it never throws.</summary>
    /// <param name="builder">The host's health checks.</param>
    /// <param name="name">The check's name.</param>
    /// <param name="failureStatus">What to report when a container has ended; unhealthy when null.</param>
    /// <param name="tags">To choose among checks by.</param>
    public static IHealthChecksBuilder AddContainersCheck(
        this IHealthChecksBuilder builder, string name = "containers", HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.Add(new HealthCheckRegistration(name, static host => new ContainersHealthCheck(host), failureStatus, tags));
    }
}
