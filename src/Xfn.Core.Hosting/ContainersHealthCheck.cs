using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Xfn.Core.Hosting;

/// <summary>Checks whether a host's containers live.</summary>
internal sealed class ContainersHealthCheck(IContainers containers) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
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

        return ended.Count == 0
            ? HealthCheckResult.Healthy($"All {found.Count} containers live.", found)
            : new HealthCheckResult(context.Registration.FailureStatus, string.Join(' ', ended), null, found);
    }
}
