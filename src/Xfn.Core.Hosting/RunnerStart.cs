using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Xfn.Core.Hosting;

/// <summary>Does something before any service of the host's takes requests, and after all have stopped.</summary>
internal abstract class LifecycleService : IHostedLifecycleService
{
    public abstract Task StartingAsync(CancellationToken cancellationToken);

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public virtual Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}

/// <summary>Makes the runner when the host starts, so that a fault fails the start and not the first request.</summary>
internal sealed class RunnerStart<TRunner>(IServiceProvider host) : LifecycleService
    where TRunner : class, IContainerRunner
{
    public override Task StartingAsync(CancellationToken cancellationToken)
    {
        _ = host.GetRequiredService<TRunner>();
        return Task.CompletedTask;
    }
}
