using Xfn.Core.Cache;
using Xfn.Core.Images;
using Xfn.Core.Layers;
using Xfn.Core.Runs;

namespace Xfn.Core;

/// <content>The cache, apart from runs.</content>
public sealed partial class ContainerRunner
{
    /// <summary>Whether a directory is the cache of runners. The constructor makes a cache where there is none, so a
    /// program that only looks at a cache, or prunes it, calls this first.</summary>
    /// <param name="directory">The directory. It need not exist.</param>
    /// <returns>False also for a directory that does not exist.</returns>
    public static bool IsCacheDirectory(string directory)
    {
        ArgumentNullException.ThrowIfNull(directory);
        return CacheDirectory.Exists(directory);
    }

    /// <summary>Pulls an image without running it.</summary>
    /// <param name="image">The image, as docker names it.</param>
    /// <param name="config">When the registry is asked, and with which credentials. Null, the default, for
    /// <see cref="ImagePullPolicy.Always"/> with the runner's own credentials.</param>
    /// <param name="progress">Gets reports of each layer that the cache lacks. It is called from several threads, and
    /// must not take long. Null, the default, for none.</param>
    /// <param name="cancellationToken">Ends the pull.</param>
    /// <returns>The image in the cache.</returns>
    /// <exception cref="XfnException">The image cannot be pulled. <see cref="XfnException.Stage"/> and the derived type
    /// say where and why.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<CachedImage> PullAsync(
        string image, ImagePullConfig? config = null, IProgress<PullProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(image);
        config ??= new ImagePullConfig { PullPolicy = ImagePullPolicy.Always };
        CheckedRequest.Check(config);
        ImageReference reference = CheckedRequest.Parse(image, _settings);
        return OperateAsync(
            async token =>
            {
                using LeasedImage leased = await _images.GetAsync(reference, config, progress, token).ConfigureAwait(false);
                return _catalog.Describe(leased.Image, reference.ToString());
            },
            cancellationToken);
    }

    /// <summary>Lists the images of the cache, one entry for each reference.</summary>
    /// <param name="cancellationToken">Ends the listing.</param>
    /// <returns>The images. An image with several references is listed with each.</returns>
    /// <exception cref="XfnException">The cache cannot be read.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<IReadOnlyList<CachedImage>> GetImagesAsync(CancellationToken cancellationToken = default) =>
        OperateAsync(token => Task.Run(_catalog.List, token), cancellationToken);

    /// <summary>Removes images that are old or too many, and all that no image refers to. Keeps what runs, pulls and
    /// prepared functions of any process use. First waits until this runner's answered runs are cleared up.</summary>
    /// <param name="options">The limits.</param>
    /// <param name="cancellationToken">Ends the pruning. What was removed by then is gone.</param>
    /// <returns>A count of what was removed.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A limit is negative.</exception>
    /// <exception cref="XfnException">The cache cannot be read or written.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<PruneReport> PruneAsync(PruneOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        PruneOptions limits = options.CheckedCopy();
        return OperateAsync(
            async token =>
            {
                await _clearUps.WaitAsync().WaitAsync(token).ConfigureAwait(false);

                // Who has layers on disk marks them so, and nobody removes them in that moment.
                await _layers.FinishAsync().WaitAsync(token).ConfigureAwait(false);
                PruneReport report = await Task.Run(() => _pruner.PruneAsync(limits, null, token), token).ConfigureAwait(false);
                _cache.TryAgain();
                long swept = await _sweeper.SweepAsync().WaitAsync(token).ConfigureAwait(false);
                return new PruneReport { ImagesRemoved = report.ImagesRemoved, LayersRemoved = report.LayersRemoved, BytesFreed = report.BytesFreed + swept };
            },
            cancellationToken);
    }

    /// <summary>Removes one reference from the cache, and with the last one the image that it leads to, with those of
    /// its layers that no other image has.</summary>
    /// <param name="image">An entry of <see cref="GetImagesAsync"/>. One without a reference is removed with all
    /// references that other runners know.</param>
    /// <param name="cancellationToken">Ends the removal. What was removed by then is gone.</param>
    /// <returns>A count of what was removed: no image where other references lead to it.</returns>
    /// <exception cref="ContainerEnvironmentException">A run, a pull or a prepared function of any process uses the
    /// image, so that nothing was removed; or the cache may not be written.</exception>
    /// <exception cref="XfnException">The cache cannot be read or written.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<PruneReport> RemoveImageAsync(CachedImage image, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(image);
        string name = image.Reference.Length > 0 ? image.Reference : image.Digest.ToString();
        return OperateAsync(
            async token =>
            {
                await _clearUps.WaitAsync().WaitAsync(token).ConfigureAwait(false);
                await _layers.FinishAsync().WaitAsync(token).ConfigureAwait(false);
                PruneReport? report = await Task.Run(() => _pruner.RemoveAsync(image.Digest, image.Reference, token), token).ConfigureAwait(false);
                _cache.TryAgain();
                return report ?? throw new ContainerEnvironmentException(RunStage.Validate, $"cannot remove image '{name}': a run, a pull or a prepared function uses it. End that first.");
            },
            cancellationToken);
    }

    /// <summary>Reads what the cache has of an image's description.</summary>
    /// <param name="image">The digest of its manifest.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The documents; null where the cache does not have both.</returns>
    /// <exception cref="XfnException">The cache cannot be read.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<ImageDocuments?> ReadImageAsync(Digest image, CancellationToken cancellationToken = default) =>
        OperateAsync(token => Task.Run(() => _catalog.ReadDocuments(image), token), cancellationToken);

    /// <summary>Ends the runner as <see cref="DisposeAsync"/> does, and removes its cache: all images, also those of
    /// other mappings of ids. The directory goes too where nothing else is in it and its parent may be written. No
    /// other runner may be using the cache.</summary>
    /// <param name="cancellationToken">Cancels before anything is begun. Later it has no effect.</param>
    /// <returns>A count of what was removed.</returns>
    /// <exception cref="ContainerEnvironmentException">Another runner uses the cache, or it may not be written: nothing
    /// was removed, and this runner goes on. Or layers belong to ids that this user does not have: the other layers are
    /// gone, and the runner has ended.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public async Task<PruneReport> DeleteCacheAsync(CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            if (!_cache.IsWritable)
                throw new ContainerEnvironmentException(RunStage.Validate, $"cannot delete cache directory '{_cache.Name}': it may not be written. Make it writable, or leave it to who may.");
            if (_cache.IsUsedByOthers())
            {
                throw new ContainerEnvironmentException(
                    RunStage.Validate, $"cannot delete cache directory '{_cache.Name}': another runner uses it. End it first, or prune what it does not use.");
            }

            ObjectDisposedException.ThrowIf(Interlocked.Exchange(ref _disposed, 1) != 0, this);
            try
            {
                await EndAsync().ConfigureAwait(false);
                int images = _catalog.List().DistinctBy(image => image.Digest).Count();
                RemovedLayers removed = await _remover.RemoveAsync(_cache).ConfigureAwait(false);
                _ephemeral?.Remove();
                return new PruneReport { ImagesRemoved = images, LayersRemoved = removed.Count, BytesFreed = removed.Bytes };
            }
            finally
            {
                await CloseAsync().ConfigureAwait(false);
            }
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw _cache.Refused(RunStage.Validate, ex);
        }
    }

    /// <summary>Does something that ends with the runner, and that the runner's end waits for.</summary>
    private async Task<T> OperateAsync<T>(Func<CancellationToken, Task<T>> operation, CancellationToken cancellationToken)
    {
        try
        {
            return await WhileAliveAsync(token => _background.Add(operation(token)), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw _cache.Refused(RunStage.Pull, ex);
        }
    }
}
