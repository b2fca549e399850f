using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Xfn.Core.Hosting;

/// <summary>Makes the runner when the host starts, so that a fault fails the start and not the first request.</summary>
internal sealed class RunnerStart<TRunner>(IServiceProvider host) : IHostedLifecycleService
    where TRunner : class, IContainerRunner
{
    /// <summary>Before any service of the host's takes requests.</summary>
    public Task StartingAsync(CancellationToken cancellationToken)
    {
        _ = host.GetRequiredService<TRunner>();
        return Task.CompletedTask;
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
