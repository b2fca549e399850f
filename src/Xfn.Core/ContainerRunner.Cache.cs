using System.Collections.Concurrent;
using Xfn.Core.Images;
using Xfn.Core.Runs;

namespace Xfn.Core;

/// <content>The cache, apart from runs.</content>
public sealed partial class ContainerRunner
{
    private readonly ConcurrentDictionary<Digest, byte> _pulled = new();

    // One at a time prunes, and uses it.
    private readonly HashSet<Digest> _toldOf = [];
    private int _pruning;

    /// <summary>Whether a runner has made its cache in a directory. To make a runner makes one: who only wants to look at a cache, or to prune it, asks before.</summary>
    /// <param name="directory">The directory; it need not exist.</param>
    public static bool IsCacheDirectory(string directory)
    {
        ArgumentNullException.ThrowIfNull(directory);
        return CacheDirectory.Exists(directory);
    }

    /// <summary>Pulls an image without running it.</summary>
    /// <param name="image">The image, as docker names it.</param>
    /// <param name="config">When the registry is asked, and with which credentials. By default it is asked (<see cref="ImagePullPolicy.Always"/>).</param>
    /// <param name="progress">Told of each layer that the cache lacks. It is called from several threads, and must not take long.</param>
    /// <param name="cancellationToken">Ends the pull.</param>
    /// <returns>The image in the cache.</returns>
    /// <exception cref="XfnException">The image cannot be pulled; <see cref="XfnException.Stage"/> and the derived type say where and why.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<CachedImage> PullAsync(
        string image, ImagePullConfig? config = null, IProgress<PullProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(image);
        config ??= new ImagePullConfig { PullPolicy = ImagePullPolicy.Always };
        RunPlan.Check(config);
        ImageReference reference = RunPlan.Parse(image, _settings);
        return OperateAsync(
            async token =>
            {
                using UsedImage used = await _images.GetAsync(reference, config, progress, token).ConfigureAwait(false);
                if (!used.FromCache)
                    PruneAfterPull(used.Image.ManifestDigest);
                return _catalog.Describe(used.Image, reference.ToString());
            },
            cancellationToken);
    }

    /// <summary>Lists the images of the cache, by reference; one that has several is listed with each.</summary>
    /// <param name="cancellationToken">Ends the listing.</param>
    /// <exception cref="XfnException">The cache cannot be read.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<IReadOnlyList<CachedImage>> GetImagesAsync(CancellationToken cancellationToken = default) =>
        OperateAsync(token => Task.Run(_catalog.List, token), cancellationToken);

    /// <summary>Removes from the cache what is old, what is too much, and what no image refers to; never what a run or a pull of any process uses.</summary>
    /// <param name="options">What to remove.</param>
    /// <param name="cancellationToken">Ends the pruning; what is removed by then stays so.</param>
    /// <returns>What was removed.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A limit is negative.</exception>
    /// <exception cref="XfnException">The cache cannot be read or written.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public Task<PruneReport> PruneAsync(PruneOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxAge ?? TimeSpan.Zero, TimeSpan.Zero, "options.MaxAge");
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxBytes ?? 0, "options.MaxBytes");
        return OperateAsync(token => Task.Run(() => _pruner.PruneAsync(options, null, token), token), cancellationToken);
    }

    /// <summary>Prunes behind what has just pulled or flattened an image, where there is a limit. The image itself stays, however large it is: who pulled it wants to run it, and would pull it each time.</summary>
    private void PruneAfterPull(Digest image)
    {
        if (_settings.CacheLimit is not { } limit)
            return;
        _pulled[image] = 0;
        if (Interlocked.Exchange(ref _pruning, 1) != 0)
            return;
        _background.Add(Task.Run(async () =>
        {
            do
            {
                await PruneToAsync(limit).ConfigureAwait(false);
                Volatile.Write(ref _pruning, 0);
            }
            while (!_pulled.IsEmpty && Interlocked.Exchange(ref _pruning, 1) == 0);
        }));
    }

    private async Task PruneToAsync(long limit)
    {
        HashSet<Digest> pulled = [.. _pulled.Keys];
        foreach (Digest image in pulled)
            _pulled.TryRemove(image, out _);
        try
        {
            if (!_pruner.IsOver(limit))
                return;
            PruneReport report = await _pruner.PruneAsync(new PruneOptions { MaxBytes = limit }, pulled, _disposal.Token).ConfigureAwait(false);
            RunnerLog.CachePruned(_settings.Logger, report.ImagesRemoved, report.LayersRemoved, report.BytesFreed);
            foreach ((string name, Digest digest, long bytes) in _catalog.LargerThan(limit, pulled))
            {
                if (_toldOf.Add(digest))
                    RunnerLog.ImageOverLimit(_settings.Logger, name, digest, bytes, limit);
            }
        }
        catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException or OperationCanceledException)
        {
            RunnerLog.CacheNotPruned(_settings.Logger, ex);
        }
    }

    /// <summary>Does something that ends with the runner, and that the runner's end waits for.</summary>
    private async Task<T> OperateAsync<T>(Func<CancellationToken, Task<T>> operation, CancellationToken cancellationToken)
    {
        try
        {
            return await WhileAliveAsync(
                token =>
                {
                    Task<T> task = operation(token);
                    _background.Add(task);
                    return task;
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw CacheErrors.Refused(RunStage.Pull, _cache, ex);
        }
    }
}
