using System.Diagnostics;
using System.Net;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>A container that is shown while it lives: its logs, its ports, and how it ends.</summary>
/// <param name="request">The container.</param>
/// <param name="ports">What is forwarded to it.</param>
/// <param name="globals">Where xfn says something itself.</param>
internal sealed class ForegroundContainer(ContainerRequest request, IReadOnlyList<PublishedPort> ports, GlobalOptions globals)
{
    /// <summary>After which time a port on which nothing listens is worth a word.</summary>
    private static readonly TimeSpan PortPatience = TimeSpan.FromSeconds(5);

    private readonly bool _hasCondition = request.Ready != Ready.Started;

    /// <summary>Shows it until its end.</summary>
    /// <param name="host">Starts it.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>Its exit status.</returns>
    public async Task<int> RunAsync(IContainerHost host, CancellationToken cancellationToken)
    {
        await using var output = new ContainerOutput(cancellationToken);
        ContainerExit exit;
        try
        {
            exit = await LiveAsync(host, output);
        }
        finally
        {
            await output.FinishAsync();
        }

        if (exit.ExitCode != 0)
            globals.Note($"'{request.Image}' {exit}{(exit.IgnoredStopSignal ? ": it took no notice of its stop signal" : "")}.");
        return exit.ExitCode;
    }

    private async Task<ContainerExit> LiveAsync(IContainerHost host, ContainerOutput output)
    {
        var took = Stopwatch.StartNew();
        RunningContainer container;
        try
        {
            container = await host.StartAsync(request with { Ready = Shown(output) }, output.Stop);
        }
        catch (ContainerEndedException e) when (!_hasCondition && !e.WasReady)
        {
            // A program may be short.
            return e.Exit;
        }

        await using (container)
        {
            globals.Note($"'{request.Image}' is {(_hasCondition ? "ready" : "started")} after {took.Elapsed.TotalSeconds:0.00} s.");
            Task forwards = Task.WhenAll(ports.Select(port => ForwardAsync(container, port, output.Stop)));
            var stopped = Task.Delay(Timeout.Infinite, output.Stop);
            await foreach (Task done in Task.WhenEach(container.Exited, stopped, forwards))
            {
                if (done != forwards)
                    break;
                await forwards;
            }

            if (!container.Exited.IsCompleted)
                globals.Note($"stopping '{request.Image}', for at most {request.StopGrace.TotalSeconds:0.###} s. A second signal does not wait.");
            return await container.StopAsync(cancellationToken: CancellationToken.None);
        }
    }

    /// <summary>The request's condition. The logs are shown before it is met.</summary>
    private Ready Shown(ContainerOutput output)
    {
        var started = Ready.When(
            (container, _) =>
            {
                output.Show((stdout, stderr) => new LogPrinter(stdout, stderr, globals).PrintAsync(container));
                return Task.FromResult(true);
            },
            $"{Ready.Started}");
        return _hasCondition ? Ready.All(started, request.Ready) : started;
    }

    private async Task ForwardAsync(RunningContainer container, PublishedPort port, CancellationToken stop)
    {
        try
        {
            Task<IPEndPoint> forward = container.ForwardAsync(port.Port, port.HostPort, stop);
            if (await Task.WhenAny(forward, Task.Delay(PortPatience, stop)) != forward)
                globals.Note($"nothing in '{request.Image}' listens on port {port.Port} yet. It is forwarded once something does.");
            globals.Note($"{await forward} leads to port {port.Port} of '{request.Image}'.");
        }
        catch (Exception e) when (e is ContainerEndedException || stop.IsCancellationRequested)
        {
            // Which is told as that.
        }
    }
}
