namespace Xfn.Core;

/// <summary>Serves a runner by gRPC.</summary>
public static class ContainerRunnerServerExtensions
{
    /// <summary>Serves a runner until it is cancelled. Functions that run then may end, within
    /// <see cref="ContainerRunnerServerOptions.DrainTime"/>.</summary>
    /// <param name="runner">Runs the functions. It is not disposed.</param>
    /// <param name="network"><c>unix</c> or <c>tcp</c>.</param>
    /// <param name="address">For <c>unix</c> a path, or <c>@</c> and a name in the abstract namespace; for <c>tcp</c>
    /// <c>HOST:PORT</c>, where the host is an IP address, <c>localhost</c>, or empty for all addresses.</param>
    /// <param name="configure">Sets options. Null, the default, for the defaults.</param>
    /// <param name="cancellationToken">Stops serving; the task then ends in good order.</param>
    /// <inheritdoc cref="ContainerRunnerServer.StartAsync" path="/exception"/>
    public static async Task ListenAndServeAsync(
        this IContainerRunner runner, string network, string address,
        Action<ContainerRunnerServerOptions>? configure = null, CancellationToken cancellationToken = default)
    {
        var options = new ContainerRunnerServerOptions();
        configure?.Invoke(options);
        ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(runner, network, address, options, cancellationToken).ConfigureAwait(false);
        await using (server.ConfigureAwait(false))
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await server.StopAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }
}
