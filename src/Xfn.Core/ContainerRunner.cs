using System.Runtime.Versioning;
using Xfn.Core.Cache;
using Xfn.Core.Cgroups;
using Xfn.Core.Diagnostics;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Namespaces;
using Xfn.Core.Pipes;
using Xfn.Core.Preflight;
using Xfn.Core.Runs;
using Xfn.Core.Services;
using Xfn.Core.Spark;

namespace Xfn.Core;

/// <summary>Runs functions packaged as OCI images in rootless containers: bytes in, bytes out, no daemon, nothing left
/// behind.</summary>
/// <remarks>Make one and keep it: it is safe for concurrent use, and learns about images for later runs.</remarks>
public sealed partial class ContainerRunner : IContainerRunner
{
    /// <summary>The number of user ids that a container has at least, where this process may map as many. Images need
    /// them. All that are granted in /etc/subuid are mapped, and root maps more.</summary>
    public const uint UserNamespaceUIDs = 65536;

    /// <summary>The number of group ids that a container has at least, where this process may map as many.</summary>
    public const uint UserNamespaceGIDs = 65536;

    private static readonly TimeSpan ReadyNamespaceIdleTime = TimeSpan.FromSeconds(30);

    private readonly RunnerSettings _settings;
    private readonly DefaultImageFetcher? _ownFetcher;
    private readonly ForkingSpawner? _ownSpawner;
    private readonly EphemeralCache? _ephemeral;
    private readonly CacheDirectory _cache;
    private readonly SparkBinaryCache _binaries;
    private readonly SparkLauncher _sparks;
    private readonly CgroupManager _cgroups;
    private readonly LayerStore _layers;
    private readonly CacheCatalog _catalog;
    private readonly CachePruner _pruner;
    private readonly CacheRemover _remover;
    private readonly CacheKeeper _keeper;
    private readonly ImageProvider _images;
    private readonly ContainerPlanner _planner;
    private readonly EgressFactory _egresses;
    private readonly SandboxFactory _sandboxes;
    private readonly ReadyPool<RunSandbox> _ready;
    private readonly RunQueue _queue;
    private readonly FunctionRunner _runs;
    private readonly ContainerStarter _containers;
    private readonly Sweeper _sweeper;
    private readonly CancellationTokenSource _disposal = new();
    private readonly BackgroundTasks _background = new();

    // What is left to do of runs that have answered.
    private readonly BackgroundTasks _clearUps = new();
    private bool _hasSwept;
    private int _disposed;

    /// <summary>Makes a runner.</summary>
    /// <param name="configure">Sets its options.</param>
    /// <inheritdoc cref="ContainerRunner(ContainerRunnerOptions)" path="/exception"/>
    [SupportedOSPlatform("linux")]
    public ContainerRunner(Action<ContainerRunnerOptions>? configure = null)
        : this(Configured(configure))
    {
    }

    /// <summary>Makes a runner. The cache directory is made; nothing is started.</summary>
    /// <param name="options">Its options, which are copied.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    /// <exception cref="ContainerEnvironmentException">This machine or user cannot run containers so: it is not Linux,
    /// or others may write to the cache directory.</exception>
    [SupportedOSPlatform("linux")]
    public ContainerRunner(ContainerRunnerOptions options)
    {
        HostPlatform.Require();
        _settings = RunnerSettings.From(options);
        options = _settings.Options;
        IBundleBuilder bundles = options.BundleBuilder ?? new RuntimeBundleBuilder(options.Bundle, File.ReadAllText("/proc/self/mountinfo"));
        IImageFetcher fetcher = options.ImageFetcher ?? (_ownFetcher = new DefaultImageFetcher(options.Registry, options.Logger, options.TimeProvider));
        try
        {
            _ephemeral = options.EphemeralCacheParent is { } parent ? EphemeralCache.Make(parent) : null;
            _cache = OpenCache();
            _binaries = new SparkBinaryCache(_cache, options.TimeProvider);
            INamespaceSpawner spawner = options.NamespaceSpawner ?? (options.ForkSparks ? _ownSpawner = new ForkingSpawner(options.Logger) : new NamespaceSpawner());
            _sparks = new SparkLauncher(spawner, () => _binaries.ProvideAsync(options.SparkPath), _settings.Mapping);
            _cgroups = CgroupManager.Detect(_cache.Cgroups, time: options.TimeProvider);

            var store = new ImageStore(_cache, options.Logger);
            var leases = new ImageLeases(_cache, options.TimeProvider);
            Platform platform = options.Platform ?? PlatformSelector.Host;
            var references = new ReferenceMap(_cache, fetcher, platform);
            _layers = new LayerStore(_cache, _sparks, options.TimeProvider, options.Logger);
            _catalog = new CacheCatalog(store, references, _layers, leases);
            _pruner = new CachePruner(_catalog, store, references, _layers, leases, _binaries, options.TimeProvider);
            _remover = new CacheRemover(_sparks);
            _sweeper = new Sweeper(SweepAsync);
            _keeper = new CacheKeeper(_pruner, _catalog, _sweeper, _background, options.Logger, _disposal.Token) { Limit = options.CacheLimit };
            var puller = new LayerPuller(fetcher, _layers, _cache, _sparks, options.UnpackLimits, options.TimeProvider);
            _images = new ImageProvider(
                new ImageResolver(fetcher, platform), store, references, _layers, puller, leases, new UserFileReader(_cache, store, _sparks), bundles, _keeper);

            _planner = new ContainerPlanner(_settings, bundles, _images, new FlattenedImages(_cache, store, _layers, _sparks, _keeper));
            _sandboxes = new SandboxFactory(_sparks, _cache, _layers, options.StdioPiper ?? new StdioPipes(), _cgroups, _settings);
            _ready = new ReadyPool<RunSandbox>(_sandboxes.StartAsync, options.ReadyNamespaces, ReadyNamespaceIdleTime, options.TimeProvider);
            _queue = new RunQueue(options.MaxConcurrency, options.MaxQueuedRuns);
            _egresses = new EgressFactory(options);
            _runs = new FunctionRunner(_settings, _images, _planner, _sandboxes, _egresses, _ready, _queue, _clearUps);
            _containers = new ContainerStarter(_settings, _images, _planner, _sandboxes, _egresses, _ready);
        }
        catch
        {
            // Nobody gets to dispose what was made so far.
            _cache?.Dispose();
            _ephemeral?.Dispose();
            _ownFetcher?.Dispose();
            throw;
        }
    }

    /// <summary>The directory of images by default: <c>/xfn</c> for root; <c>$XDG_CACHE_HOME/xfn</c> or
    /// <c>~/.cache/xfn</c> for others; for one without a home a private directory in <c>$XDG_RUNTIME_DIR</c>, else in
    /// the temporary directory, of which the log warns.</summary>
    public static string DefaultCacheDirectory => DefaultCache.Find().Directory;

    /// <summary>Whether this process holds CAP_SETUID. False where there is no Linux.</summary>
    public static bool HasCapSetUID() => HostPlatform.IsLinux && ProcessStatus.Read().HasSetUid;

    /// <summary>Whether this process holds CAP_SETGID. False where there is no Linux.</summary>
    public static bool HasCapSetGID() => HostPlatform.IsLinux && ProcessStatus.Read().HasSetGid;

    /// <summary>Tries what runs need of this machine. It runs no image, and leaves nothing behind.</summary>
    /// <param name="configure">Sets the options of the runner that is to run here.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <returns>What was found, what is wanted, and the remedy where they differ.</returns>
    public static Task<EnvironmentReport> CheckEnvironmentAsync(Action<ContainerRunnerOptions>? configure = null, CancellationToken cancellationToken = default) =>
        CheckEnvironmentAsync(Configured(configure), cancellationToken);

    internal static Task<EnvironmentReport> CheckEnvironmentAsync(ContainerRunnerOptions options, CancellationToken cancellationToken) =>
        EnvironmentChecker.CheckAsync(
            new EnvironmentCheckOptions
            {
                CacheDirectory = options.EphemeralCacheParent is { } parent ? EphemeralCache.PathIn(parent) : options.CacheDirectory,
                Runtime = options.Runtime,
                AllowOuterProc = options.Bundle.OuterProc,
                Ids = RunnerSettings.IdsOf(options),
            },
            cancellationToken);

    /// <inheritdoc/>
    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default) =>
        await RunAsync(CheckedRequest.From(request, _settings), null, null, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) =>
        await RunAsync(CheckedRequest.From(request, streams, _settings), streams, null, cancellationToken).ConfigureAwait(false);

    /// <summary>Runs what was checked.</summary>
    /// <param name="request">What and how.</param>
    /// <param name="streams">What it reads and writes; null to hold that in memory.</param>
    /// <param name="prepared">The containers that wait for it; null for none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    internal Task<RunFunctionResponse> RunAsync(CheckedRequest request, FunctionStreams? streams, PreparedContainers? prepared, CancellationToken cancellationToken)
    {
        RunStreams run = streams is null ? RunStreams.InMemory(request.Request.Input, _settings.Options.MaxStdioBytes) : RunStreams.Of(streams);
        return WhileAliveAsync(token => _runs.RunAsync(request, run, prepared, token), cancellationToken);
    }

    /// <summary>Cancels runs and waits until they are gone. Later ones throw <see cref="ObjectDisposedException"/>. An
    /// ephemeral cache goes too (<see cref="ContainerRunnerOptions.WithEphemeralCache"/>).</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        try
        {
            await EndAsync().ConfigureAwait(false);
            if (_ephemeral is not null)
                await RemoveAsync(_ephemeral, () => _remover.RemoveAsync(_cache)).ConfigureAwait(false);
        }
        finally
        {
            await CloseAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Checks options without making a runner of them.</summary>
    internal static void Check(ContainerRunnerOptions options) => _ = RunnerSettings.From(options);

    private CacheDirectory OpenCache()
    {
        if (_ephemeral is not null)
            return new CacheDirectory(_ephemeral.Path, _settings.Mapping);
        try
        {
            if (DefaultCache.Find() is { Warning: { } warning } found && found.Directory == _settings.Options.CacheDirectory)
                RunnerLog.OddDefaultCache(_settings.Options.Logger, found.Directory, warning);
            return new CacheDirectory(_settings.Options.CacheDirectory, _settings.Mapping);
        }
        catch (ContainerEnvironmentException ex)
        {
            throw DefaultCache.Explain(_settings.Options.CacheDirectory, ex);
        }
    }

    private async Task EndAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _containers.DisposeAsync().ConfigureAwait(false);

        // Every run holds a place until nothing of it is left.
        await _queue.DisposeAsync().ConfigureAwait(false);
        await _background.WaitAsync().ConfigureAwait(false);
        await _clearUps.WaitAsync().ConfigureAwait(false);
        await _ready.DisposeAsync().ConfigureAwait(false);
        foreach (PreparedFunction function in _prepared.Keys)
            await function.DisposeAsync().ConfigureAwait(false);

        // The next program may be no longer there than this one.
        if (_hasSwept || _ephemeral is not null)
            await ((Task)_sweeper.SweepAsync()).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _cgroups.DisposeAsync().ConfigureAwait(false);
        await _layers.FinishAsync().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _layers.ClearAsync().ConfigureAwait(false);
    }

    private async Task CloseAsync()
    {
        if (_ownSpawner is not null)
            await _ownSpawner.DisposeAsync().ConfigureAwait(false);
        _ownFetcher?.Dispose();
        _sparks.Dispose();
        _cache.Dispose();
        _ephemeral?.Dispose();
    }

    /// <summary>Removes what processes left that were killed.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    private async Task<long> SweepAsync()
    {
        Task<long> layers = _layers.SweepAsync(CancellationToken.None);
        await Task.WhenAll(layers, CgroupManager.SweepAsync(_cache.Cgroups), SweepEphemeralAsync(), Task.Run(() => _cache.IsWritable ? _binaries.RemoveUnused() : 0)).ConfigureAwait(false);
        return await layers.ConfigureAwait(false);
    }

    /// <summary>Removes ephemeral caches of this user's killed runners, if this one has such a cache itself.</summary>
    private async Task SweepEphemeralAsync()
    {
        if (_settings.Options.EphemeralCacheParent is not { } parent)
            return;
        foreach (EphemeralCache dead in EphemeralCache.FindDead(parent))
        {
            using (dead)
            {
                await RemoveAsync(
                    dead,
                    async () =>
                    {
                        using var cache = new CacheDirectory(dead.Path, _settings.Mapping);
                        await _remover.RemoveAsync(cache).ConfigureAwait(false);
                    }).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Removes an ephemeral cache; one that cannot be removed is left to the next who tries.</summary>
    private async Task RemoveAsync(EphemeralCache ephemeral, Func<Task> removeContent)
    {
        try
        {
            await removeContent().ConfigureAwait(false);
            ephemeral.Remove();
        }
        catch (Exception ex) when (ex is XfnException or IOException or UnauthorizedAccessException)
        {
            RunnerLog.NotRemoved(_settings.Options.Logger, ephemeral.Path, ex);
        }
    }

    private static ContainerRunnerOptions Configured(Action<ContainerRunnerOptions>? configure)
    {
        var options = new ContainerRunnerOptions();
        configure?.Invoke(options);
        return options;
    }

    /// <summary>Does something that ends with the runner.</summary>
    private async Task<T> WhileAliveAsync<T>(Func<CancellationToken, Task<T>> operation, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (!_hasSwept && !Interlocked.Exchange(ref _hasSwept, true))
            _ = _sweeper.SweepAsync();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposal.Token);
        try
        {
            return await operation(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_disposed != 0 && !cancellationToken.IsCancellationRequested)
        {
            throw new ObjectDisposedException(nameof(ContainerRunner), "the runner was disposed while it worked");
        }
        catch (OperationCanceledException ex) when (cancellationToken.IsCancellationRequested && ex.CancellationToken != cancellationToken)
        {
            throw ex is FunctionCanceledException run ? run.With(cancellationToken) : new OperationCanceledException(ex.Message, ex, cancellationToken);
        }
    }
}
