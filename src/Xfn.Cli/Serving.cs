using Xfn.Core;

namespace Xfn.Cli;

/// <summary>The server of <c>xfn start</c>.</summary>
internal static class Serving
{
    /// <summary>Serves until it is cancelled, and then lets what runs end.</summary>
    public static async Task RunAsync(ContainerRunnerOptions runnerOptions, ContainerRunnerServerOptions serverOptions, string network, string address, CancellationToken cancellationToken)
    {
        await using var runner = new ContainerRunner(runnerOptions);
        await using ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(runner, network, address, serverOptions, cancellationToken);
        await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await server.StopAsync(CancellationToken.None);
    }
}
