using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting;

/// <summary>Whether functions can be run: by this machine as it is set up, or by the servers. What was found of this machine is kept for a while, since finding out starts a few processes.</summary>
internal sealed class ContainerRunnerHealthCheck(IContainerRunner runner, IOptions<ContainerRunnerOptions> options, TimeSpan keep) : IHealthCheck, IDisposable
{
    private readonly SemaphoreSlim _one = new(1);
    private EnvironmentReport? _report;
    private long _checkedAt;

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => runner switch
    {
        RemoteContainerRunner remote => CheckServersAsync(remote, context, cancellationToken),
        ContainerRunner => CheckMachineAsync(context, cancellationToken),
        _ => Task.FromResult(HealthCheckResult.Healthy($"{runner.GetType().Name} has nothing to check.")),
    };

    public void Dispose() => _one.Dispose();

    private static async Task<HealthCheckResult> CheckServersAsync(RemoteContainerRunner remote, HealthCheckContext context, CancellationToken cancellationToken)
    {
        try
        {
            return await remote.IsServingAsync(cancellationToken).ConfigureAwait(false)
                ? HealthCheckResult.Healthy("A server takes runs.")
                : new HealthCheckResult(context.Registration.FailureStatus, "The server can be reached, but says that it takes no runs.");
        }
        catch (ServerUnavailableException ex)
        {
            return new HealthCheckResult(context.Registration.FailureStatus, ex.Message, ex);
        }
    }

    private async Task<HealthCheckResult> CheckMachineAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        EnvironmentReport report = await ReportAsync(cancellationToken).ConfigureAwait(false);
        var data = report.Checks.ToDictionary(c => c.Name, c => (object)c.Found);
        EnvironmentCheck[] found = [.. report.Checks.Where(c => c.Status == (report.CanRun ? EnvironmentStatus.Warning : EnvironmentStatus.Failed))];
        string description = string.Join(' ', found.Select(c => $"{c.Name}: {c.Found}. {c.Remedy}".TrimEnd()));
        return report.CanRun
            ? found.Length == 0 ? HealthCheckResult.Healthy("This machine runs functions.", data) : HealthCheckResult.Degraded(description, null, data)
            : new HealthCheckResult(context.Registration.FailureStatus, description, null, data);
    }

    private async Task<EnvironmentReport> ReportAsync(CancellationToken cancellationToken)
    {
        await _one.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            TimeProvider time = options.Value.TimeProvider;
            if (_report is null || time.GetElapsedTime(_checkedAt) >= keep)
            {
                _report = await ContainerRunner.CheckEnvironmentAsync(Copy, cancellationToken).ConfigureAwait(false);
                _checkedAt = time.GetTimestamp();
            }

            return _report;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>What the check looks at.</summary>
    private void Copy(ContainerRunnerOptions target)
    {
        ContainerRunnerOptions source = options.Value;
        (target.CacheDirectory, target.Runtime, target.UseSetUID, target.Bundle) = (source.CacheDirectory, source.Runtime, source.UseSetUID, source.Bundle);
    }
}
