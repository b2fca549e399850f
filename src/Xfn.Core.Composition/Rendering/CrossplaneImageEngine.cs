namespace Xfn.Core.Composition.Rendering;

/// <summary>Crossplane from its image, in a container that reaches the functions, and nothing else, through links on its
/// own loopback.</summary>
internal sealed class CrossplaneImageEngine(string image) : CrossplaneEngine
{
    private const int FirstPort = 20000;

    public override string ToString() => $"engine '{image}'";

    protected override async Task<(int Status, byte[] Stdout, string Stderr)> RunAsync(RenderRequest request, CancellationToken cancellationToken)
    {
        var containers = request.Started.SelectMany(set => set.Containers).ToDictionary();
        if (CompositionFunctions.NamesOf(request.Composition).FirstOrDefault(name => !containers.ContainsKey(name)) is { } outside)
            throw new RenderException(RenderFailure.Input, $"cannot give {this} function '{outside}': it is in no container, and the engine's reaches only those. Use the built-in engine, or Crossplane's program.");
        RunningContainer engine = await StartAsync(request, cancellationToken).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            var addresses = new Dictionary<string, string>();
            foreach (string name in CompositionFunctions.NamesOf(request.Composition))
            {
                int port = FirstPort + addresses.Count;
                await engine.LinkAsync(name, port, containers[name], FunctionClient.DefaultPort, cancellationToken).ConfigureAwait(false);
                addresses.Add(name, $"127.0.0.1:{port}");
            }

            Task<byte[]> stdout = ReadAsync(engine.Stdout, cancellationToken);
            try
            {
                await engine.Stdin.WriteAsync(Message(request, addresses), cancellationToken).ConfigureAwait(false);
                await engine.Stdin.DisposeAsync().ConfigureAwait(false);
            }
            catch (IOException)
            {
                // It ended without reading all, and says why by its status and on stderr.
            }

            byte[] read = await stdout.ConfigureAwait(false);
            ContainerExit exit = await engine.Exited.WaitAsync(cancellationToken).ConfigureAwait(false);
            var lines = new List<string>();
            await foreach (LogLine line in engine.ReadLogsAsync(cancellationToken: cancellationToken).ConfigureAwait(false))
                lines.Add(line.Text);
            return (exit.ExitCode, read, string.Join('\n', lines));
        }
    }

    private async Task<RunningContainer> StartAsync(RenderRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await request.Host().StartAsync(new ContainerRequest { Image = image, Arguments = Arguments, Stdio = ContainerStdio.Piped, StopGrace = TimeSpan.Zero }, cancellationToken).ConfigureAwait(false);
        }
        catch (XfnException e)
        {
            throw new RenderException(RenderFailure.Engine, $"cannot start {this}: {e.Message}", e);
        }
    }
}
