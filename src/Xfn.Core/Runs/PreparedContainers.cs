using Xfn.Core.Egress;
using Xfn.Core.Images;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>The containers that wait for the runs of one request.</summary>
internal sealed class PreparedContainers : IAsyncDisposable
{
    private readonly CheckedRequest _request;
    private readonly SandboxFactory _sandboxes;
    private readonly ImageProvider _images;
    private readonly ContainerPlanner _planner;
    private readonly EgressFactory _egresses;
    private readonly ReadyPool<PreparedContainer> _pool;
    private volatile ResolvedReference? _newest;

    public PreparedContainers(CheckedRequest request, PrepareOptions options, SandboxFactory sandboxes, ImageProvider images, ContainerPlanner planner, EgressFactory egresses, TimeProvider time)
    {
        (_request, _sandboxes, _images, _planner, _egresses) = (request, sandboxes, images, planner, egresses);
        _pool = new ReadyPool<PreparedContainer>(StartAsync, options.Count, options.IdleTime, time);
    }

    public int Count => _pool.Count;

    public Task FillAsync(CancellationToken cancellationToken) => RunNotBegunException.TryTwiceAsync(
        async _ =>
        {
            await _pool.FillAsync(cancellationToken).ConfigureAwait(false);
            return true;
        },
        mayReadInput: true);

    /// <summary>Takes one that waits, of the image that is to be run now; null when none does.</summary>
    public async ValueTask<PreparedContainer?> TryTakeAsync(CheckedRequest request, CancellationToken cancellationToken)
    {
        // What waits holds its layers, so where the reference leads is all there is to know.
        Digest? wanted = _pool.Count > 0 ? await _images.FindNewestAsync(request.Reference, request.Pull, _newest!, cancellationToken).ConfigureAwait(false) : null;
        while (_pool.TryTake() is { } container)
        {
            if (wanted is null || container.Image.ManifestDigest == wanted)
                return container;

            // The reference has moved, so all that wait are of the old image, or will be found to be by another run.
            await container.DisposeAsync().ConfigureAwait(false);
        }

        return null;
    }

    public void Refill() => _pool.Refill();

    public ValueTask DisposeAsync() => _pool.DisposeAsync();

    private async Task<PreparedContainer> StartAsync(CancellationToken cancellationToken)
    {
        LeasedImage lease = await _images.GetAsync(_request.Reference, _request.Pull, null, cancellationToken).ConfigureAwait(false);
        RunSandbox? sandbox = null;
        try
        {
            HostMounts? mounts = _sandboxes.LookAtMounts(_request);
            (ContainerEgress? egress, CheckedRequest request) = _egresses.Make(_request, lease.Image.Config);
            SparkRun plan = await _planner.PlanAsync(request, lease.Image, mounts, cancellationToken).ConfigureAwait(false) with { HasGate = true };
            sandbox = await _sandboxes.StartWithGateAsync(mounts, cancellationToken).ConfigureAwait(false);
            sandbox.Cgroup.Apply(_request.Limits);
            EgressSandbox? open = null;
            if (egress is not null)
            {
                open = await EgressSandbox.StartAsync(sandbox, plan, egress, cancellationToken).ConfigureAwait(false);
            }
            else
            {
                await sandbox.StartAsync(plan, cancellationToken).ConfigureAwait(false);
                sandbox.CountFromNow();
            }

            _newest = lease.Resolved;
            return new PreparedContainer(sandbox, open, lease);
        }
        catch (Exception ex)
        {
            if (sandbox is not null)
                await sandbox.DisposeAsync().ConfigureAwait(false);
            lease.Dispose();
            if (ex is SparkFailedException failure)
                throw _planner.NotStarted(failure, _request, lease.Image, "");
            throw;
        }
    }
}

/// <summary>A container in which everything has been done but the execution of its function. For one run.</summary>
internal sealed class PreparedContainer(RunSandbox sandbox, EgressSandbox? open, LeasedImage lease) : IReady
{
    public ISandbox Sandbox => (ISandbox?)open ?? sandbox;

    public StoredImage Image => lease.Image;

    public bool IsAlive => sandbox.IsAlive;

    public Task ReleaseAsync(CancellationToken cancellationToken) => sandbox.ReleaseAsync(cancellationToken);

    public async ValueTask DisposeAsync()
    {
        if (open is not null)
            await open.DisposeAsync().ConfigureAwait(false);
        await sandbox.DisposeAsync().ConfigureAwait(false);
        lease.Dispose();
    }
}
