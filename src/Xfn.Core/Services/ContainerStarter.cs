using Xfn.Core.Egress;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>Starts containers that live, and ends those that are left with the runner.</summary>
/// <remarks>They take no place among the runs that may go on at once: a few servers would keep all runs waiting.
/// </remarks>
internal sealed class ContainerStarter(RunnerSettings settings, ImageProvider images, ContainerPlanner planner, SandboxFactory sandboxes, EgressFactory egresses, ReadyPool<RunSandbox> ready) : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly HashSet<LiveContainer> _containers = [];
    private readonly BackgroundTasks _starts = new();
    private bool _isDisposed;
    private bool _hasStarted;

    public async Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(request.Image, "request.Image");
        if (settings.Options.Runtime is { } runtime)
            throw new InvalidRequestException($"cannot start a container that lives with OCI runtime '{runtime}': only xfn-spark makes those. Use a runner without a runtime (option Runtime).");
        LiveContainer.Check(request);
        var run = CheckedRequest.From(
            new RunFunctionRequest
            {
                Image = request.Image,
                ImagePullConfig = request.ImagePullConfig,
                RunFunctionConfig = new() { Limits = request.Limits, Network = request.Network },
                Container = request,
            },
            settings);
        return await _starts.Add(StartAsync(request, run, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>Ends when no container is left. The starts under way have been cancelled.</summary>
    public async ValueTask DisposeAsync()
    {
        await _starts.WaitAsync().ConfigureAwait(false);
        LiveContainer[] left;
        lock (_lock)
        {
            _isDisposed = true;
            left = [.. _containers];
        }

        await Task.WhenAll(left.Select(container => container.DisposeAsync().AsTask())).ConfigureAwait(false);
    }

    private async Task<RunningContainer> StartAsync(ContainerRequest request, CheckedRequest run, CancellationToken cancellationToken)
    {
        using var telemetry = new StartTelemetry(run.Reference, settings.Options.TimeProvider);
        try
        {
            LiveContainer container = await RunNotBegunException.TryTwiceAsync(_ => StartOnceAsync(request, run, telemetry, cancellationToken), mayReadInput: true).ConfigureAwait(false);
            try
            {
                await new Readiness(container, settings.Options.TimeProvider).WaitAsync(request.Ready, cancellationToken).ConfigureAwait(false);
                telemetry.Succeeded();
                return container;
            }
            catch
            {
                await container.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
        catch (Exception ex) when (telemetry.Failed(ex))
        {
            throw;
        }
    }

    private async Task<LiveContainer> StartOnceAsync(ContainerRequest request, CheckedRequest run, StartTelemetry telemetry, CancellationToken cancellationToken)
    {
        // One that waits can mount nothing of this machine any more: it has settled.
        HostMounts? mounts = sandboxes.LookAtMounts(run);

        // A sandbox needs nothing of the image, so it starts while that is looked up.
        // A way out is there before the program's first line.
        Task<RunSandbox> starting = run.Egress is not null ? sandboxes.StartWithGateAsync(mounts, cancellationToken)
            : mounts is null ? ready.TakeAsync(cancellationToken)
            : sandboxes.StartAsync(mounts, cancellationToken);
        LeasedImage? lease = null;
        LiveContainer? container = null;
        try
        {
            lease = await images.GetAsync(run.Reference, run.Pull, null, cancellationToken).ConfigureAwait(false);
            telemetry.Found(lease);
            (ContainerEgress? egress, run) = egresses.Make(run, lease.Image.Config, PortsOf(request.Ready));
            SparkRun plan = await planner.PlanAsync(run, lease.Image, mounts, cancellationToken).ConfigureAwait(false) with
            {
                HasGate = egress is not null,
                OpensLowPorts = true,
                Rows = request.Terminal?.Rows ?? 0,
                Columns = request.Terminal?.Columns ?? 0,
            };
            RunSandbox sandbox = await starting.ConfigureAwait(false);
            sandbox.Cgroup.Apply(run.Limits);
            SparkStarted started = await sandbox.StartAsync(plan, cancellationToken).ConfigureAwait(false);
            StartedSandbox taken = await StartedSandbox.TakeOverAsync(sandbox, started, lease, cancellationToken).ConfigureAwait(false) with { Egress = egress };
            var execs = new ExecPlanner(planner, run, lease.Image, SparkFrame.Read<SparkContainer>(plan.Container));
            container = new LiveContainer(request, run, taken, execs, settings.Options);
            await KeepAsync(container).ConfigureAwait(false);
            if (egress is not null)
                await ReleaseAsync(container, egress, cancellationToken).ConfigureAwait(false);
            return container;
        }
        catch (SparkFailedException ex)
        {
            throw planner.NotStarted(ex, run, lease!.Image, "");
        }
        finally
        {
            if (container is null)
                await RunSandbox.ClearUpAsync(starting, lease, settings.Options.Logger).ConfigureAwait(false);

            // A program that starts one container should not pay for a second.
            if (Interlocked.Exchange(ref _hasStarted, true))
                ready.Refill();
        }
    }

    /// <summary>Lets a container go on with a way out.</summary>
    private static async Task ReleaseAsync(LiveContainer container, ContainerEgress egress, CancellationToken cancellationToken)
    {
        try
        {
            await container.ReleaseAsync(egress, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await container.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Has the runner end a container if nobody else does.</summary>
    private async Task KeepAsync(LiveContainer container)
    {
        bool isKept;
        lock (_lock)
        {
            isKept = !_isDisposed;
            if (isKept)
                _containers.Add(container);
        }

        XfnTelemetry.CountContainers(1);
        _ = container.Cleared.ContinueWith(_ => Forget(container), TaskScheduler.Default);
        if (isKept)
            return;
        await container.DisposeAsync().ConfigureAwait(false);
        throw new ObjectDisposedException(nameof(ContainerRunner));
    }

    /// <summary>The ports at which a container is waited for.</summary>
    private static IEnumerable<int> PortsOf(Ready ready) => ready switch
    {
        ListensReady listens => [listens.Port],
        HttpReady http => [http.Port],
        GrpcReady grpc => [grpc.Port],
        AllReady all => all.Parts.SelectMany(PortsOf),
        AnyReady any => any.Parts.SelectMany(PortsOf),
        _ => [],
    };

    private void Forget(LiveContainer container)
    {
        XfnTelemetry.CountContainers(-1);
        lock (_lock)
            _containers.Remove(container);
    }
}
