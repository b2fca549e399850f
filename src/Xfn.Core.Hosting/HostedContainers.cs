using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Xfn.Core.Services;

namespace Xfn.Core.Hosting;

/// <summary>The containers of a host, from its start to its end.</summary>
internal sealed class HostedContainers(IServiceProvider host, IEnumerable<HostedContainerSource> sources) : IContainers, IAsyncDisposable
{
    private readonly ILogger _logger = host.GetService<ILoggerFactory>()?.CreateLogger(HostingLog.Category) ?? NullLogger.Instance;
    private readonly TimeProvider _time = host.GetService<TimeProvider>() ?? TimeProvider.System;

    // In the order of their starts, each behind those that it is linked to.
    private OrderedDictionary<string, RunningContainer> _started = [];

    /// <summary>Those that did not start in a host that started without them, and why.</summary>
    public IReadOnlyDictionary<string, Exception> Failed { get; private set; } = new Dictionary<string, Exception>();

    public IReadOnlyCollection<string> Names => _started.Keys;

    public RunningContainer this[string name] => _started.TryGetValue(name, out RunningContainer? container)
        ? container
        : throw new InvalidOperationException(
            Failed.TryGetValue(name, out Exception? reason) ? $"cannot give container '{name}': {reason.Message}"
                : _started.Count > 0 ? $"cannot give container '{name}': the host has {string.Join(", ", _started.Keys)}. Add it, or correct the name."
                : $"cannot give container '{name}': the host has started none. Ask for it in StartAsync or later, not in a constructor.",
            reason);

    /// <summary>Starts all, each when those are ready that it is linked to. One that fails ends the others,
    /// unless the host shall start without it.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        List<HostedContainer> containers = InOrder([.. sources.SelectMany(source => source.Read(host))]);
        if (containers.Count == 0)
            return;
        IContainerHost runner = host.GetService<IContainerHost>()
            ?? throw new InvalidOperationException($"cannot start container '{containers[0].Name}': the host has no runner of this machine. Call AddContainerRunner.");
        bool goOn = host.GetService<IOptions<ContainerRunnerStartOptions>>()?.Value.ContinueOnFailure == true;
        using var failure = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var starts = new OrderedDictionary<string, Task<RunningContainer>>();
        foreach (HostedContainer container in containers)
            starts.Add(container.Name, StartAsync(runner, container, container.Links.ToDictionary(link => link.Key, link => starts[link.Key]), failure, goOn));
        try
        {
            await Task.WhenAll(starts.Values).ConfigureAwait(false);
        }
        catch when (goOn && !cancellationToken.IsCancellationRequested)
        {
            Failed = starts.Where(start => !start.Value.IsCompletedSuccessfully).ToDictionary(start => start.Key, start => (Exception?)start.Value.Exception?.InnerException ?? new OperationCanceledException());
            foreach (Exception reason in Failed.Values)
                HostingLog.StepFailed(_logger, reason.Message, reason);
        }
        catch
        {
            foreach (Task<RunningContainer> start in starts.Values.Reverse().Where(start => start.IsCompletedSuccessfully))
                await (await start.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);

            // The others failed because of the first.
            Task<RunningContainer>? first = starts.Values.FirstOrDefault(start => start.IsFaulted);
            await (first ?? starts.Values.First(start => start.IsCanceled)).ConfigureAwait(false);
            throw;
        }

        _started = new(starts.Where(start => start.Value.IsCompletedSuccessfully).Select(start => KeyValuePair.Create(start.Key, start.Value.Result)));
    }

    /// <summary>Stops all, the last first: with the host, and at the latest before its runner goes.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (RunningContainer container in _started.Values.Reverse())
            await container.DisposeAsync().ConfigureAwait(false);
    }

    private async Task<RunningContainer> StartAsync(
        IContainerHost runner, HostedContainer container, Dictionary<string, Task<RunningContainer>> linked, CancellationTokenSource failure, bool goOn)
    {
        long begin = _time.GetTimestamp();
        try
        {
            await Task.WhenAll(linked.Values).WaitAsync(failure.Token).ConfigureAwait(false);
            ContainerRequest request = linked.Count == 0 ? container.Request : container.Request with
            {
                Ready = container.Request.Ready.After(async (app, token) =>
                {
                    foreach ((string name, Task<RunningContainer> target) in linked)
                        await app.LinkAsync(name, container.Links[name], await target.ConfigureAwait(false), cancellationToken: token).ConfigureAwait(false);
                }),
            };
            RunningContainer started = await runner.StartAsync(request, failure.Token).ConfigureAwait(false);
            TimeSpan elapsed = _time.GetElapsedTime(begin);
            HostingLog.Started(_logger, container.Name, elapsed);
            return started;
        }
        catch (Exception ex)
        {
            bool isFirst = !failure.IsCancellationRequested;
            if (!goOn)
                await failure.CancelAsync().ConfigureAwait(false);
            if (!isFirst)
                throw new OperationCanceledException($"container '{container.Name}' was not started, because another was not", ex, failure.Token);
            throw ex is XfnException known ? new XfnException(known.Stage, $"cannot start container '{container.Name}': {known.Message}", known) { IsTransient = known.IsTransient } : ex;
        }
    }

    /// <summary>Each behind those that it is linked to.</summary>
    private static List<HostedContainer> InOrder(HostedContainer[] containers)
    {
        if (containers.GroupBy(container => container.Name).FirstOrDefault(same => same.Count() > 1) is { } twice)
            throw new InvalidOperationException($"cannot start container '{twice.Key}': the host has it twice. Give one another name.");
        var byName = containers.ToDictionary(container => container.Name);
        var ordered = new List<HostedContainer>();
        foreach (HostedContainer container in containers)
            Add(container, []);
        return ordered;

        void Add(HostedContainer container, List<string> way)
        {
            if (ordered.Contains(container))
                return;
            if (way.Contains(container.Name))
                throw new InvalidOperationException($"cannot start container '{container.Name}': it is linked to itself, by {string.Join(", ", way)}. Leave a link out.");
            way.Add(container.Name);
            foreach (string name in container.Links.Keys)
            {
                Add(
                    byName.GetValueOrDefault(name) ?? throw new InvalidOperationException($"cannot link container '{container.Name}' to '{name}': the host has no such container. Add it, or correct the name."),
                    [.. way]);
            }

            ordered.Add(container);
        }
    }
}

/// <summary>Starts them before the host's other services, and stops them after those.</summary>
internal sealed class HostedContainersStart(HostedContainers containers) : LifecycleService
{
    public override Task StartingAsync(CancellationToken cancellationToken) => containers.StartAsync(cancellationToken);

    public override Task StoppedAsync(CancellationToken cancellationToken) => containers.DisposeAsync().AsTask();
}
