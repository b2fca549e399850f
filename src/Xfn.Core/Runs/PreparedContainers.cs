using Xfn.Core.Images;

namespace Xfn.Core.Runs;

/// <summary>The containers that wait for the runs of one request.</summary>
internal sealed class PreparedContainers : IAsyncDisposable
{
    private readonly ImageProvider _images;
    private readonly ReadyPool<PreparedContainer> _pool;
    private volatile ResolvedReference? _newest;

    /// <param name="options">How many wait, and for how long.</param>
    /// <param name="start">Makes one.</param>
    /// <param name="images">Knows when their image is not the one that is asked for any more.</param>
    /// <param name="time">The clock.</param>
    public PreparedContainers(PrepareOptions options, Func<CancellationToken, Task<PreparedContainer>> start, ImageProvider images, TimeProvider time)
    {
        _images = images;
        _pool = new ReadyPool<PreparedContainer>(StartAsync, options.Count, options.IdleTime, time);

        async Task<PreparedContainer> StartAsync(CancellationToken cancellationToken)
        {
            PreparedContainer container = await start(cancellationToken).ConfigureAwait(false);
            _newest = container.Resolved;
            return container;
        }
    }

    /// <summary>How many wait.</summary>
    public int Count => _pool.Count;

    /// <inheritdoc cref="ReadyPool{T}.FillAsync"/>
    public async Task FillAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _pool.FillAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (RunNotBegunException)
        {
            // Somebody removed a layer between lookup and mount; this time it is pulled.
            await _pool.FillAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Takes one that waits, of the image that is to be run now; null when none does.</summary>
    /// <param name="plan">The run.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async ValueTask<PreparedContainer?> TryTakeAsync(RunPlan plan, CancellationToken cancellationToken)
    {
        // What waits holds its layers, so where the reference leads is all there is to know.
        Digest? wanted = _pool.Count > 0
            ? await _images.FindNewestAsync(plan.Reference, plan.Request.ImagePullConfig, _newest!, cancellationToken).ConfigureAwait(false)
            : null;
        while (_pool.TryTake() is { } container)
        {
            if (wanted is null || container.Image.ManifestDigest == wanted)
                return container;

            // The reference has moved, so all that wait are of the old image, or will be found to be by another run.
            await container.DisposeAsync().ConfigureAwait(false);
        }

        return null;
    }

    /// <inheritdoc cref="ReadyPool{T}.Refill"/>
    public void Refill() => _pool.Refill();

    public ValueTask DisposeAsync() => _pool.DisposeAsync();
}
