using Microsoft.Extensions.DependencyInjection;

namespace Xfn.Core.Hosting;

/// <summary>Starts the instances of a service that shall be up without a call.</summary>
internal sealed class FunctionServiceStart(IServiceProvider host, string name) : LifecycleService
{
    public override async Task StartingAsync(CancellationToken cancellationToken)
    {
        // Options that make no sense fail the start, too.
        var service = host.GetRequiredKeyedService<FunctionService>(name);
        if (service.IsStartedAhead)
            await service.StartAsync(cancellationToken).ConfigureAwait(false);
    }
}
