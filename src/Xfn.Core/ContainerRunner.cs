using System.Runtime.InteropServices;
using Xfn.Core.Cache;
using Xfn.Core.Cgroups;
using Xfn.Core.Diagnostics;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Pipes;
using Xfn.Core.Preflight;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core;

/// <summary>Runs functions packaged as OCI images in rootless containers: bytes in, bytes out, no daemon, nothing left behind.</summary>
/// <remarks>Make one and keep it: it is safe for concurrent use, and what it learns about images serves all later runs.</remarks>
public sealed partial class ContainerRunner : IContainerRunner
{
    /// <summary>How many user ids a container has at least, where this process may map as many: what images need. All
    /// that are granted in /etc/subuid are mapped, and root maps more.</summary>
    public const uint UserNamespaceUIDs = 65536;

    /// <summary>How many group ids a container has at least, likewise.</summary>
    public const uint UserNamespaceGIDs = 65536;

    private static readonly TimeSpan ReadyNamespaceIdleTime = TimeSpan.FromSeconds(30);

    private RunnerSettings _settings;
    private readonly DefaultImageFetcher? _ownFetcher;
    private readonly CacheDirectory _cache;
    private readonly SparkLauncher _sparks;
    private readonly CgroupManager _cgroups;
    private readonly ReadyPool<RunSandbox> _ready;
    private readonly FunctionRunner _runs;
    private readonly ContainerPlanner _planner;
    private readonly Func<CancellationToken, Task<RunSandbox>> _startPrepared;
    private readonly ImageProvider _images;
    private readonly CacheCatalog _catalog;
    private readonly CachePruner _pruner;
    private readonly RunQueue _places;
    private readonly LayerStore _layers;
    private readonly EphemeralCache? _ephemeral;
    private readonly CacheRemover _remover;
    private readonly Sweeper _sweeper;
    private readonly CancellationTokenSource _disposal = new();
    private readonly BackgroundTasks _background = new();

    // What is left to do of runs that have answered.
    private readonly BackgroundTasks _clearUps = new();
    private int _disposed;

    /// <summary>Makes a runner.</summary>
    /// <param name="configure">Sets its options.</param>
    /// <inheritdoc cref="ContainerRunner(ContainerRunnerOptions)" path="/exception"/>
    public ContainerRunner(Action<ContainerRunnerOptions>? configure = null)
        : this(Configured(configure))
    {
    }

    /// <summary>Makes a runner. The cache directory is made; nothing is started.</summary>
    /// <param name="options">Its options, which are copied.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    /// <exception cref="ContainerEnvironmentException">This machine or user cannot run containers so: another operating system, a cache directory that others may write.</exception>
    public ContainerRunner(ContainerRunnerOptions options)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
        {
            throw new ContainerEnvironmentException(
                RunStage.Validate,
                $"cannot run containers on {RuntimeInformation.OSDescription} ({RuntimeInformation.ProcessArchitecture}): expected Linux on x64. Call an xfn server on such a machine instead.");
        }

        _settings = RunnerSettings.From(options);
        options = _settings.Options;
        IBundleBuilder bundles = options.BundleBuilder ?? new RuntimeBundleBuilder(options.Bundle);
        IStdioPiper piper = options.StdioPiper ?? new StdioPipes();
        IImageFetcher fetcher = options.ImageFetcher ?? (_ownFetcher = new DefaultImageFetcher(options.Registry, options.Logger, options.TimeProvider));
        try
        {
            _ephemeral = options.EphemeralCacheParent is { } parent ? EphemeralCache.Make(parent) : null;
            _cache = OpenCache();
            var binaries = new SparkBinaryCache(_cache, options.TimeProvider);
            SparkLauncher sparks = _sparks = new SparkLauncher(options.NamespaceSpawner ?? new NamespaceSpawner(), () => binaries.ProvideAsync(options.SparkPath), _settings.Mapping);
            _cgroups = CgroupManager.Detect(_cache.Cgroups, time: options.TimeProvider);
            _ready = new ReadyPool<RunSandbox>(
                token => RunSandbox.StartAsync("run", sparks, _cache.Store, piper, _cgroups, LimitsOfAll, token), options.ReadyNamespaces, ReadyNamespaceIdleTime, options.TimeProvider);
            _startPrepared = token => RunSandbox.StartAsync("prepare", sparks, _cache.Store, piper, _cgroups, LimitsOfAll, token);
            var store = new ImageStore(_cache, options.Logger);
            LayerStore layers = _layers = new LayerStore(_cache, sparks, options.TimeProvider, options.Logger);
            var leases = new ImageLeases(_cache, options.TimeProvider);
            Platform platform = options.Platform ?? PlatformSelector.Host;
            var references = new ReferenceMap(_cache, fetcher, platform);
            _catalog = new CacheCatalog(store, references, layers, leases);
            _pruner = new CachePruner(_catalog, store, references, layers, leases, binaries, options.TimeProvider);
            _remover = new CacheRemover(sparks);
            _sweeper = new Sweeper(async () =>
            {
                Task<long> swept = layers.SweepAsync(CancellationToken.None);
                await Task.WhenAll(swept, CgroupManager.SweepAsync(_cache.Cgroups), SweepEphemeralAsync(), Task.Run(() => _cache.IsWritable ? binaries.RemoveUnused() : 0)).ConfigureAwait(false);
                return await swept.ConfigureAwait(false);
            });
            var keeper = new CacheKeeper(_pruner, _catalog, _sweeper, _background, _settings.CacheLimit, options.Logger, _disposal.Token);
            var puller = new LayerPuller(fetcher, layers, _cache, sparks, options.UnpackLimits, options.TimeProvider);
            _images = new ImageProvider(
                new ImageResolver(fetcher, platform), store, references, layers, puller, leases, new UserFileReader(_cache, store, sparks), bundles, keeper);
            _places = new RunQueue(options.MaxConcurrency, options.MaxQueuedRuns);
            _planner = new ContainerPlanner(
                _settings, bundles, _images, new FlattenedImages(options.FlattenImages || FlattenedImages.AreNeededHere, _cache, store, layers, sparks, keeper, options.Logger));
            _runs = new FunctionRunner(_settings, _images, _planner, _ready, _places, _clearUps);
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

    /// <summary>Where images are kept when nothing else is said: <c>/xfn</c> for root; <c>$XDG_CACHE_HOME/xfn</c> or <c>~/.cache/xfn</c> for others; for one without a home a private directory in
    /// <c>$XDG_RUNTIME_DIR</c>, else in the temporary directory, of which the log warns.</summary>
    public static string DefaultCacheDirectory => DefaultCache.Find().Directory;

    /// <summary>Whether this process holds CAP_SETUID.</summary>
    public static bool HasCapSetUID() => ProcessStatus.Read().HasSetUid;

    /// <summary>Whether this process holds CAP_SETGID.</summary>
    public static bool HasCapSetGID() => ProcessStatus.Read().HasSetGid;

    /// <summary>Tries what runs need of this machine, without running anything of an image's, and leaves nothing behind.</summary>
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
    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default) =>
        RunAsync(request, null, cancellationToken);

    /// <inheritdoc/>
    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) =>
        RunAsync(request, streams, null, cancellationToken);

    internal async Task<RunFunctionResponse> RunAsync(RunFunctionRequest request, PreparedContainers? prepared, CancellationToken cancellationToken) =>
        await RunAsync(RunPlan.From(request, _settings), prepared, cancellationToken).ConfigureAwait(false);

    internal async Task<RunFunctionResponse> RunAsync(RunPlan plan, ReadOnlyMemory<byte> input, PreparedContainers prepared, CancellationToken cancellationToken) =>
        await RunAsync(plan.With(input, _settings), prepared, cancellationToken).ConfigureAwait(false);

    private async Task<RunFunctionResponse> RunAsync(RunPlan plan, PreparedContainers? prepared, CancellationToken cancellationToken)
    {
        var output = new BufferSink(_settings.Options.MaxStdioBytes);
        var streams = new RunStreams((stdin, token) => InputWriter.WriteAsync(stdin, plan.Request.Input, token), output, new TailSink(null, _settings.Options.MaxStdioBytes)) { IsBuffered = true };
        RunFunctionResponse response = await WhileAliveAsync(token => _runs.RunAsync(plan, streams, () => output.Content, prepared, token), cancellationToken).ConfigureAwait(false);
        return response with { Output = output.Content };
    }

    internal Task<RunFunctionResponse> RunAsync(RunFunctionRequest request, FunctionStreams streams, PreparedContainers? prepared, CancellationToken cancellationToken)
    {
        RunPlan plan = RunPlan.From(request, _settings);
        ArgumentNullException.ThrowIfNull(streams);
        if (!request.Input.IsEmpty)
            throw new InvalidRequestException("cannot use an input beside a stream for stdin: pass the input as streams.Stdin.");
        var copied = new RunStreams(
            (stdin, token) => InputWriter.CopyAsync(stdin, streams.Stdin, token), new StreamSink(streams.Stdout), new TailSink(streams.Stderr, long.MaxValue));
        return WhileAliveAsync(token => _runs.RunAsync(plan, copied, () => default, prepared, token), cancellationToken);
    }

    /// <summary>Cancels what runs, and waits until nothing of it is left. Runs after it throw <see cref="ObjectDisposedException"/>. An ephemeral cache is gone with it
    /// (<see cref="ContainerRunnerOptions.WithEphemeralCache"/>).</summary>
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
            Close();
        }
    }

    /// <summary>Checks options without making a runner of them.</summary>
    internal static void Check(ContainerRunnerOptions options) => _ = RunnerSettings.From(options);

    /// <summary>What is known of a run's limits before the run.</summary>
    private CgroupLimits LimitsOfAll =>
        new() { Pids = _settings.ProcessLimit, Expected = _settings.DefaultMemoryBytes is null ? CgroupControllers.None : CgroupControllers.Memory };

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

        // Every run holds a place until nothing of it is left.
        await _places.DisposeAsync().ConfigureAwait(false);
        await _background.WaitAsync().ConfigureAwait(false);
        await _clearUps.WaitAsync().ConfigureAwait(false);
        await _ready.DisposeAsync().ConfigureAwait(false);
        foreach (PreparedFunction function in _prepared.Keys)
            await function.DisposeAsync().ConfigureAwait(false);

        // The next program may be no longer there than this one.
        if (_sweeper.HasBegun || _ephemeral is not null)
            await ((Task)_sweeper.SweepAsync()).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _cgroups.DisposeAsync().ConfigureAwait(false);
        await _layers.FinishAsync().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _layers.ClearAsync().ConfigureAwait(false);
    }

    private void Close()
    {
        _ownFetcher?.Dispose();
        _sparks.Dispose();
        _cache.Dispose();
        _ephemeral?.Dispose();
    }

    /// <summary>Removes the ephemeral caches of this user's runners that were killed, where this one has such a cache itself.</summary>
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
        _sweeper.Begin();
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
