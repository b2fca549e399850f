using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting;

/// <summary>Checks whether this machine, or the servers, can run functions; reports faults and never throws. A runner
/// that cannot be made is a finding, too. What was found of this machine is kept for a while.</summary>
internal sealed class ContainerRunnerHealthCheck(IServiceProvider host, TimeSpan keep) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            return host.GetRequiredService<IContainerRunner>() switch
            {
                RemoteContainerRunner remote => await CheckServersAsync(remote, context, cancellationToken).ConfigureAwait(false),
                ContainerRunner => await CheckMachineAsync(context, cancellationToken).ConfigureAwait(false),
                { } other => HealthCheckResult.Healthy($"{other.GetType().Name} has nothing to check."),
            };
        }
        catch (Exception ex) when (ex is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
        {
            return new HealthCheckResult(context.Registration.FailureStatus, ex.Message, ex);
        }
    }

    private static async Task<HealthCheckResult> CheckServersAsync(RemoteContainerRunner remote, HealthCheckContext context, CancellationToken cancellationToken) =>
        await remote.IsServingAsync(cancellationToken).ConfigureAwait(false)
            ? HealthCheckResult.Healthy("A server takes runs.")
            : new HealthCheckResult(context.Registration.FailureStatus, "The server can be reached, but says that it takes no runs.");

    private async Task<HealthCheckResult> CheckMachineAsync(HealthCheckContext context, CancellationToken cancellationToken)
    {
        EnvironmentReport report = await host.GetRequiredService<MachineReport>().GetAsync(keep, cancellationToken).ConfigureAwait(false);
        var data = report.Checks.ToDictionary(c => c.Name, c => (object)c.Found);
        EnvironmentCheck[] found = [.. report.Checks.Where(c => c.Status == (report.CanRun ? EnvironmentStatus.Warning : EnvironmentStatus.Failed))];
        string description = MachineReport.Describe(found);
        return report.CanRun
            ? found.Length == 0 ? HealthCheckResult.Healthy("This machine runs functions.", data) : HealthCheckResult.Degraded(description, null, data)
            : new HealthCheckResult(context.Registration.FailureStatus, description, null, data);
    }
}

/// <summary>What was found of this machine, kept for a while, as looking costs processes. One for each host.</summary>
internal sealed class MachineReport(IOptions<ContainerRunnerOptions> options) : IDisposable
{
    public static readonly TimeSpan DefaultKeep = TimeSpan.FromMinutes(1);

    private readonly SemaphoreSlim _one = new(1);
    private EnvironmentReport? _report;
    private long _checkedAt;

    /// <summary>What was found, with the remedies, in one line.</summary>
    public static string Describe(IEnumerable<EnvironmentCheck> checks) => string.Join(' ', checks.Select(check => $"{check.Name}: {check.Found}. {check.Remedy}".TrimEnd()));

    public async Task<EnvironmentReport> GetAsync(TimeSpan keep, CancellationToken cancellationToken)
    {
        await _one.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            TimeProvider time = options.Value.TimeProvider;
            if (_report is null || time.GetElapsedTime(_checkedAt) >= keep)
            {
                _report = await ContainerRunner.CheckEnvironmentAsync(options.Value, cancellationToken).ConfigureAwait(false);
                _checkedAt = time.GetTimestamp();
            }

            return _report;
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose() => _one.Dispose();
}
