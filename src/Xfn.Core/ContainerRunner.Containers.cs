namespace Xfn.Core;

/// <content>Containers that live.</content>
public sealed partial class ContainerRunner : IContainerHost
{
    /// <inheritdoc/>
    public Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default) =>
        WhileAliveAsync(token => _containers.StartAsync(request, token), cancellationToken);

    /// <summary>Resolves the names of egress, and connects: what tests replace.</summary>
    internal Registry.Dialer EgressDialer
    {
        set => _egresses.Dialer = value;
    }
}
