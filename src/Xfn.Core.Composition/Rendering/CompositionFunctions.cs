using System.Collections.Concurrent;
using System.Net;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Rendering;

namespace Xfn.Core.Composition;

/// <summary>The functions of a file, started and kept for as many renders as there are.</summary>
/// <remarks>Functions start side by side. Each is in a container of its own, without a network; those with the annotation
/// <c>render.crossplane.io/runtime: Development</c> are servers that somebody else has started. Disposal ends the
/// containers.</remarks>
public sealed class CompositionFunctions : IAsyncDisposable
{
    private readonly Dictionary<string, ICompositionFunction> _functions = [];
    private readonly Dictionary<string, RunningContainer> _containers = [];
    private readonly Dictionary<string, string> _targets = [];
    private readonly Dictionary<string, Task<IPEndPoint>> _forwards = [];
    private readonly ConcurrentDictionary<string, Lazy<Task<FunctionPackage?>>> _packages = new();
    private readonly List<IAsyncDisposable> _owned = [];

    private CompositionFunctions(IReadOnlyList<string> notes) => Notes = notes;

    /// <summary>The functions, by the name that compositions have for them.</summary>
    public IReadOnlyDictionary<string, ICompositionFunction> ByName => _functions;

    /// <summary>The containers of those that are in one, likewise: for logs, and for ports that lead to them.</summary>
    public IReadOnlyDictionary<string, RunningContainer> Containers => _containers;

    /// <summary>What was accepted and has no effect, each a sentence.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>The addresses of those that somebody else has started, by name.</summary>
    internal IReadOnlyDictionary<string, string> Targets => _targets;

    /// <summary>Starts functions, and waits until they listen.</summary>
    /// <param name="host">What starts their containers. It is not disposed.</param>
    /// <param name="functions">The objects of kind Function.</param>
    /// <param name="composition">The Composition, of which the functions are started that it names. Null, the default,
    /// to start all.</param>
    /// <param name="annotations">Annotations for all, besides theirs and before them. Null, the default, for
    /// none.</param>
    /// <param name="cancellationToken">Ends the start; nothing is left.</param>
    /// <exception cref="RenderException">An object is no function, or a function could not be started; the message has
    /// its last logs.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static Task<CompositionFunctions> StartAsync(
        IContainerHost host, IEnumerable<Struct> functions, Struct? composition = null, IReadOnlyDictionary<string, string>? annotations = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(functions);
        IReadOnlyList<FunctionManifest> manifests = FunctionManifest.Read(functions, annotations ?? new Dictionary<string, string>());
        return StartAsync(() => host, composition is null ? manifests : [.. manifests.Where(function => NamesOf(composition).Contains(function.Name))], cancellationToken);
    }

    /// <summary>Opens a port on this machine's loopback that leads to a function, for programs that need one.</summary>
    /// <param name="function">The function's name. It is in a container.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>Where it listens: the same each time.</returns>
    /// <remarks><b>Every user and program of this machine may connect to it</b>
    /// (<see cref="RunningContainer.ForwardAsync"/>).</remarks>
    /// <exception cref="KeyNotFoundException">There is no such function in a container.</exception>
    /// <exception cref="ContainerEndedException">The function has ended.</exception>
    public async Task<IPEndPoint> ForwardAsync(string function, CancellationToken cancellationToken = default)
    {
        Task<IPEndPoint> forward;
        lock (_forwards)
        {
            if (!_forwards.TryGetValue(function, out forward!) || forward.IsFaulted || forward.IsCanceled)
                _forwards[function] = forward = _containers[function].ForwardAsync(FunctionClient.DefaultPort, cancellationToken: cancellationToken);
        }

        return await forward.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Ends the containers, side by side.</summary>
    public async ValueTask DisposeAsync() => await Task.WhenAll(_owned.AsEnumerable().Reverse().Select(owned => owned.DisposeAsync().AsTask())).ConfigureAwait(false);

    /// <summary>The package of a function in a container, which is read once. Null for none.</summary>
    internal Task<FunctionPackage?> PackageOfAsync(string function, CancellationToken cancellationToken) =>
        _packages.GetOrAdd(function, name => new(() => InputNotes.ReadPackageAsync(_containers[name], CancellationToken.None))).Value.WaitAsync(cancellationToken);

    /// <summary>The names of the functions that a composition calls, each once.</summary>
    internal static IReadOnlyList<string> NamesOf(Struct composition) => [.. composition.Objects("spec", "pipeline").Select(step => step.Text("functionRef", "name")).Distinct()];

    internal static async Task<CompositionFunctions> StartAsync(Func<IContainerHost> host, IReadOnlyList<FunctionManifest> manifests, CancellationToken cancellationToken)
    {
        var started = new CompositionFunctions([.. manifests.SelectMany(function => function.Notes)]);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            // The first that fails ends the others: their starts may take long.
            Task[] starts = [.. manifests.Select(manifest => started.AddAsync(host, manifest, over.Token))];
            await foreach (Task start in Task.WhenEach(starts).ConfigureAwait(false))
            {
                if (!start.IsCompletedSuccessfully && !over.IsCancellationRequested)
                {
                    await over.CancelAsync().ConfigureAwait(false);
                    await Task.WhenAll(starts).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                    await start.ConfigureAwait(false);
                }
            }

            await Task.WhenAll(starts).ConfigureAwait(false);
            return started;
        }
        catch
        {
            await started.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task AddAsync(Func<IContainerHost> host, FunctionManifest manifest, CancellationToken cancellationToken)
    {
        switch (manifest.Runtime)
        {
            case FunctionRuntime.Development:
                Add(manifest, At(manifest), container: null);
                break;
            case FunctionRuntime.Container:
                RunningContainer container = await StartContainerAsync(host(), manifest, cancellationToken).ConfigureAwait(false);
                Add(manifest, FunctionClient.ForContainer(container, Options(manifest)), container);
                break;
        }
    }

    private static FunctionClient At(FunctionManifest manifest)
    {
        try
        {
            return FunctionClient.ForAddress(manifest.Target, Options(manifest));
        }
        catch (ArgumentException e)
        {
            throw new RenderException(RenderFailure.Input, $"cannot reach function '{manifest.Name}': {e.Message.Split(" (Parameter '")[0]}", e);
        }
    }

    /// <summary>The time of a call is the render's.</summary>
    private static FunctionClientOptions Options(FunctionManifest manifest) => new() { Name = manifest.Name, Timeout = TimeSpan.FromDays(1) };

    private void Add(FunctionManifest manifest, FunctionClient client, RunningContainer? container)
    {
        lock (_owned)
        {
            _functions.Add(manifest.Name, client);
            if (container is null)
                _targets.Add(manifest.Name, manifest.Target);
            else
                _containers.Add(manifest.Name, container);
            _owned.Add(new ClientOf(client, container));
        }
    }

    private static async Task<RunningContainer> StartContainerAsync(IContainerHost host, FunctionManifest manifest, CancellationToken cancellationToken)
    {
        var request = new ContainerRequest
        {
            Image = manifest.Image,
            Arguments = [FunctionClient.InsecureArgument],
            Environment = manifest.Environment.ToDictionary(),
            ImagePullConfig = new() { PullPolicy = manifest.PullPolicy },
            Ready = Ready.Listens(FunctionClient.DefaultPort),

            // Nothing is under way when it is stopped, and some functions wait for clients that are gone.
            StopGrace = TimeSpan.FromSeconds(1),
        };
        try
        {
            return await host.StartAsync(request, cancellationToken).ConfigureAwait(false);
        }
        catch (ContainerException e)
        {
            throw new RenderException(RenderFailure.Function, $"cannot start function '{manifest.Name}': {e.Message}{Logs(e.LogTail)}", e);
        }
        catch (XfnException e)
        {
            throw new RenderException(RenderFailure.Function, $"cannot start function '{manifest.Name}': {e.Message}", e);
        }
    }

    /// <summary>The logs of a function, for the end of a message.</summary>
    internal static string Logs(string tail) => tail.Length == 0 || string.IsNullOrWhiteSpace(tail) ? "" : $"\nIts last logs:\n{tail.TrimEnd()}";

    /// <summary>A client, and the container that it leads to: the client first, since some functions wait for it.</summary>
    private sealed class ClientOf(FunctionClient client, RunningContainer? container) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await client.DisposeAsync().ConfigureAwait(false);
            if (container is not null)
                await container.DisposeAsync().ConfigureAwait(false);
        }
    }
}
