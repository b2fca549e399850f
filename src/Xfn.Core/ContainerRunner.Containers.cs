namespace Xfn.Core;

/// <content>Containers that live.</content>
public sealed partial class ContainerRunner : IContainerHost
{
    /// <inheritdoc/>
    public Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default) =>
        WhileAliveAsync(token => _containers.StartAsync(request, token), cancellationToken);
}
