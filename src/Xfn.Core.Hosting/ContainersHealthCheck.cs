using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Xfn.Core.Hosting;

/// <summary>Checks whether a host's containers live. It never throws: containers that cannot be asked for are a finding,
/// too.</summary>
internal sealed class ContainersHealthCheck(IServiceProvider host) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            return await CheckAsync(host.GetRequiredService<IContainers>(), context).ConfigureAwait(false);
        }
        catch (Exception ex)
        {
            return new HealthCheckResult(context.Registration.FailureStatus, ex.Message, ex);
        }
    }

    private static async Task<HealthCheckResult> CheckAsync(IContainers containers, HealthCheckContext context)
    {
        var found = new Dictionary<string, object>();
        var ended = new List<string>();
        foreach (string name in containers.Names)
        {
            Task<ContainerExit> exited = containers[name].Exited;
            string state = exited.IsCompleted ? (await exited.ConfigureAwait(false)).ToString() : "lives";
            found.Add(name, state);
            if (exited.IsCompleted)
                ended.Add($"Container '{name}' {state}.");
        }

        foreach ((string name, Exception reason) in (containers as HostedContainers)?.Failed ?? new Dictionary<string, Exception>())
        {
            found.Add(name, "was not started");
            ended.Add(reason.Message);
        }

        return ended.Count == 0
            ? HealthCheckResult.Healthy($"All {found.Count} containers live.", found)
            : new HealthCheckResult(context.Registration.FailureStatus, string.Join(' ', ended), null, found);
    }
}
