using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Xfn.Core.Cgroups;
using Xfn.Core.Images;
using Xfn.Core.Layers;
using Xfn.Core.Namespaces;
using Xfn.Core.Pipes;
using Xfn.Core.Preflight;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core;

/// <summary>Runs functions packaged as OCI images in rootless containers: bytes in, bytes out, no daemon, nothing left behind.</summary>
/// <remarks>Make one and keep it: it is safe for concurrent use, and what it learns about images serves all later runs.</remarks>
public sealed partial class ContainerRunner : IContainerRunner
{
    /// <summary>How many user ids a container has, where more than the caller's own can be mapped.</summary>
    public const uint UserNamespaceUIDs = 65536;

    /// <summary>How many group ids a container has, likewise.</summary>
    public const uint UserNamespaceGIDs = 65536;

    /// <summary>How many bytes of input and of each output stream a run may hold in memory by default: 100 MiB.</summary>
    public const long MaxStdioBytes = 100 << 20;

    private readonly RunnerSettings _settings;
    private readonly IBundleBuilder _bundles;
    private readonly IStdioPiper _piper;
    private readonly IDisposable? _ownFetcher;
    private readonly CacheDirectory _cache;
    private readonly SparkFactory _sparks;
    private readonly CgroupManager _cgroups;
    private readonly ReadySparks _ready;
    private readonly ImageProvider _images;
    private readonly CacheCatalog _catalog;
    private readonly CachePruner _pruner;
    private readonly SemaphoreSlim _places;
    private readonly Lazy<string> _runtime;
    private readonly Lazy<Task> _sweep;
    private readonly CancellationTokenSource _disposal = new();
    private readonly ConcurrentDictionary<Task, byte> _teardowns = new();
    private int _waiting;
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
        _bundles = options.BundleBuilder ?? new RuntimeBundleBuilder(BundleFor(options));
        _piper = options.StdioPiper ?? new StdioPipes();
        IImageFetcher fetcher = options.ImageFetcher ?? DefaultFetcher(options.Registry with { Logger = _settings.Logger, TimeProvider = _settings.Time }, out _ownFetcher);
        _cache = new CacheDirectory(_settings.CacheDirectory, _settings.Mapping);
        _sparks = new SparkFactory(
            options.NamespaceSpawner ?? new NamespaceSpawner(), () => SparkLocator.Provide(_settings.SparkPath, _cache.Bin), _settings.Mapping);
        _cgroups = CgroupManager.Detect(_cache.Cgroups, time: _settings.Time);
        _ready = new ReadySparks(token => RunSpark.StartAsync(_sparks, _piper, _cgroups, token), _settings.ReadyNamespaces, _settings.Time);
        var store = new ImageStore(_cache);
        var layers = new LayerStore(_cache, _sparks, _settings.Time, _settings.Logger);
        var uses = new ImageUses(_cache, _settings.Time);
        _catalog = new CacheCatalog(store, layers, uses);
        _pruner = new CachePruner(_catalog, store, layers, uses, _settings.Time);
        _images = new ImageProvider(
            fetcher, store, layers, uses, new UserFileReader(_cache, store, _sparks), options.Platform ?? PlatformSelector.Host);
        _places = new SemaphoreSlim(_settings.MaxConcurrency);
        _runtime = new Lazy<string>(FindRuntime);
        _sweep = new Lazy<Task>(() => Task.Run(() => Task.WhenAll(layers.SweepAsync(_disposal.Token), CgroupManager.SweepAsync(_cache.Cgroups))));
    }

    /// <summary>Where images are kept when nothing else is said: <c>/xfn</c> for root, <c>$XDG_CACHE_HOME/xfn</c> or <c>~/.cache/xfn</c> for others.</summary>
    public static string DefaultCacheDirectory
    {
        get
        {
            if (!OperatingSystem.IsLinux() || Posix.EffectiveUserId == 0)
                return "/xfn";
            string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            return Path.Combine(
                Path.IsPathRooted(cache) ? cache : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "xfn");
        }
    }

    /// <summary>Whether this process holds CAP_SETUID.</summary>
    public static bool HasCapSetUID() => Capabilities.HasSetUid;

    /// <summary>Whether this process holds CAP_SETGID.</summary>
    public static bool HasCapSetGID() => Capabilities.HasSetGid;

    /// <summary>Tries what runs need of this machine, without running anything of an image's, and leaves nothing behind.</summary>
    /// <param name="configure">Sets the options of the runner that is to run here.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <returns>What was found, what is wanted, and the remedy where they differ.</returns>
    public static Task<EnvironmentReport> CheckEnvironmentAsync(Action<ContainerRunnerOptions>? configure = null, CancellationToken cancellationToken = default)
    {
        ContainerRunnerOptions options = Configured(configure);
        return EnvironmentChecker.CheckAsync(
            new EnvironmentCheckOptions
            {
                CacheDirectory = options.CacheDirectory,
                Runtime = options.Runtime,
                MappingMethod = options.UseSetUID switch { true => IdMappingMethod.Capabilities, false => IdMappingMethod.Self, null => null },
            },
            cancellationToken);
    }

    /// <inheritdoc/>
    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        RunPlan plan = RunPlan.From(request, _settings);
        var output = new BufferSink(_settings.MaxStdioBytes);
        var streams = new RunStreams((stdin, token) => InputWriter.WriteAsync(stdin, request.Input, token), output, new TailSink(null, _settings.MaxStdioBytes)) { IsRepeatable = true };
        RunFunctionResponse response = await RunAsync(plan, streams, () => output.Content, cancellationToken).ConfigureAwait(false);
        return response with { Output = output.Content };
    }

    /// <inheritdoc/>
    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default)
    {
        RunPlan plan = RunPlan.From(request, _settings);
        ArgumentNullException.ThrowIfNull(streams);
        if (!request.Input.IsEmpty)
            throw new InvalidRequestException("cannot use an input beside a stream for stdin: pass the input as streams.Stdin.");
        return RunAsync(
            plan,
            new RunStreams((stdin, token) => InputWriter.CopyAsync(stdin, streams.Stdin, token), new StreamSink(streams.Stdout), new TailSink(streams.Stderr, long.MaxValue)),
            () => default,
            cancellationToken);
    }

    /// <summary>Cancels what runs, and waits until nothing of it is left. Runs after it throw <see cref="ObjectDisposedException"/>.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _disposal.CancelAsync().ConfigureAwait(false);

        // Every run holds a place until nothing of it is left.
        for (int i = 0; i < _settings.MaxConcurrency; i++)
            await _places.WaitAsync().ConfigureAwait(false);
        await Task.WhenAll(_teardowns.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _ready.DisposeAsync().ConfigureAwait(false);
        if (_sweep.IsValueCreated)
            await _sweep.Value.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _cgroups.DisposeAsync().ConfigureAwait(false);
        _ownFetcher?.Dispose();
        _cache.Dispose();
    }

    private static ContainerRunnerOptions Configured(Action<ContainerRunnerOptions>? configure)
    {
        var options = new ContainerRunnerOptions();
        configure?.Invoke(options);
        return options;
    }

    private async Task<RunFunctionResponse> RunAsync(RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposal.Token);
        var clock = new StageClock(_settings.Time);
        try
        {
            try
            {
                return await RunOnceAsync(plan, streams, output, clock, either.Token).ConfigureAwait(false);
            }
            catch (ImageDamagedException) when (streams.IsRepeatable)
            {
                // Somebody removed a layer between lookup and mount; this time it is pulled.
                return await RunOnceAsync(plan, streams, output, clock, either.Token).ConfigureAwait(false);
            }
        }
        catch (ImageDamagedException ex)
        {
            throw ex.Error;
        }
        catch (OperationCanceledException) when (_disposed != 0 && !cancellationToken.IsCancellationRequested)
        {
            throw new ObjectDisposedException(nameof(ContainerRunner), "the runner was disposed while the function ran");
        }
        catch (OperationCanceledException ex) when (cancellationToken.IsCancellationRequested && ex.CancellationToken != cancellationToken)
        {
            throw new OperationCanceledException(ex.Message, ex, cancellationToken);
        }
    }

    private async Task<RunFunctionResponse> RunOnceAsync(RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, StageClock clock, CancellationToken cancellationToken)
    {
        await TakePlaceAsync(cancellationToken).ConfigureAwait(false);
        bool leftRunning = false;
        try
        {
            clock.Next(ref clock.Queued);
            return await RunInPlaceAsync(plan, streams, output, clock, () => leftRunning = true, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (!leftRunning)
                _places.Release();
        }
    }

    private async Task TakePlaceAsync(CancellationToken cancellationToken)
    {
        if (_places.Wait(0, cancellationToken))
            return;
        try
        {
            if (Interlocked.Increment(ref _waiting) > _settings.MaxQueuedRuns)
            {
                throw new RunnerBusyException(
                    $"cannot take another run: {_settings.MaxConcurrency} go on and {_settings.MaxQueuedRuns} wait already. Try again later, or raise the limits (WithMaxConcurrency).");
            }

            await _places.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    private async Task<RunFunctionResponse> RunInPlaceAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, StageClock clock, Action leaveRunning, CancellationToken cancellationToken)
    {
        string runtime = _runtime.Value;
        _ = _sweep.Value;

        // A spark needs nothing of the image, so it starts while that is looked up.
        Task<RunSpark> starting = _ready.TakeAsync(cancellationToken);
        UsedImage? used = null;
        try
        {
            used = await _images.GetAsync(plan.Reference, plan.Request.ImagePullConfig, null, cancellationToken).ConfigureAwait(false);
            StoredImage image = used.Image;
            if (!used.FromCache)
                PruneAfterPull();
            clock.Next(ref clock.Pull);
            Bundle bundle = _bundles.Build(new BundleContext
            {
                Reference = plan.Reference,
                Image = image.Config,
                Passwd = image.Passwd,
                Group = image.Group,
                Config = plan.Request.RunFunctionConfig,
                Mapping = _settings.Mapping,
            });
            RunSpark spark = await starting.ConfigureAwait(false);
            clock.Next(ref clock.Spawn);

            using var run = new FunctionRun(spark, streams, _settings.Time);
            spark.Cgroup.Apply(plan.Limits);
            (RunEnd end, SparkExited? exited, CgroupUsage usage) = await ExecuteAsync(run, plan, image, bundle, runtime, streams.Stderr, cancellationToken).ConfigureAwait(false);
            clock.Until(run.StartedAt, ref clock.Start);
            clock.Next(ref clock.Run);
            RunStatistics statistics = clock.ToStatistics() with
            {
                ImageDigest = image.ManifestDigest,
                FromCache = used.FromCache,
                CpuTime = usage.CpuTime ?? (exited is null ? null : TimeSpan.FromMicroseconds(exited.CpuMicroseconds)),
                PeakMemoryBytes = usage.PeakMemoryBytes ?? exited?.PeakMemoryBytes,
            };
            string stderr = streams.Stderr.ToString();
            return end switch
            {
                RunEnd.Exited when exited!.ExitCode == 0 => new RunFunctionResponse { StderrTail = stderr, Statistics = statistics },
                RunEnd.Exited => throw RunErrors.Exited(plan.Reference, exited, usage.OutOfMemoryKills > 0, stderr, output(), statistics),
                RunEnd.TimedOut => throw RunErrors.TimedOut(plan.Reference, plan.Timeout, stderr, statistics),
                RunEnd.OutputExceeded => throw RunErrors.OutputExceeded(plan.Reference, _settings.MaxStdioBytes, stderr, statistics),
                _ => throw new OperationCanceledException(cancellationToken),
            };
        }
        finally
        {
            leaveRunning();
            TearDown(starting, used);
        }
    }

    private async Task<RunOutcome> ExecuteAsync(
        FunctionRun run, RunPlan plan, StoredImage image, Bundle bundle, string runtime, TailSink stderr, CancellationToken cancellationToken)
    {
        (uint mode, uint uid, uint gid) = image.Root;
        var message = new SparkRun
        {
            StoreDirectory = _cache.Store,
            LowerDirectories = image.LowerDirectories,
            MountPoints = bundle.MountPoints,
            FileMountPoints = bundle.FileMountPoints,
            Directories = bundle.Directories,
            WritableRootBytes = bundle.WritableRootBytes,
            RootMode = mode,
            RootUid = uid,
            RootGid = gid,
            Runtime = runtime,
            RuntimeFlags = IsCrun(_settings.Runtime) ? ["--cgroup-manager=disabled"] : [],
            RuntimeConfig = bundle.RuntimeConfig,
        };
        try
        {
            return await run.ExecuteAsync(message, plan.Timeout, cancellationToken).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            XfnException error = RunErrors.NotStarted(ex, plan.Reference, image.Config, runtime, stderr.ToString());
            throw _images.IsDamaged(image) ? new ImageDamagedException(error) : error;
        }
    }

    /// <summary>Ends what is left of a run behind its caller's back: the answer need not wait for it, but its place does.</summary>
    private void TearDown(Task<RunSpark> starting, UsedImage? used)
    {
        Task teardown = Task.Run(async () =>
        {
            try
            {
                await (await starting.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
            }
            catch (Exception ex) when (starting.IsFaulted || starting.IsCanceled)
            {
                // It never came to be, and the run, if it got so far, has said why.
                RunnerLog.SparkNotStarted(_settings.Logger, ex);
            }
            finally
            {
                used?.Dispose();
                _places.Release();
                _ready.Refill();
            }
        });
        AwaitOnDisposal(teardown);
    }

    private void AwaitOnDisposal(Task task)
    {
        _teardowns.TryAdd(task, 0);
        task.ContinueWith(static (t, s) => ((ConcurrentDictionary<Task, byte>)s!).TryRemove(t, out _), _teardowns, TaskScheduler.Default);
    }

    /// <summary>crun takes a compiled seccomp filter, which saves milliseconds of every run; another runtime would run nothing with it.</summary>
    private static BundleOptions BundleFor(ContainerRunnerOptions options) =>
        IsCrun(options.Runtime) ? options.Bundle with { SeccompForm = SeccompForm.Compiled } : options.Bundle;

    private static bool IsCrun(string runtime) => Path.GetFileName(runtime).Contains("crun", StringComparison.Ordinal);

    private string FindRuntime() => Executables.Find(_settings.Runtime) ?? throw new ContainerEnvironmentException(
        RunStage.Start,
        $"cannot find OCI runtime '{_settings.Runtime}': it is no executable file, and none of that name is in PATH. Install crun (Debian: apt-get install crun), or name another (WithRuntime).");

    private static CompositeImageFetcher DefaultFetcher(RegistryOptions registry, [NotNull] out IDisposable? owned)
    {
        var archives = new ArchiveImageFetcher();
        var fetcher = new CompositeImageFetcher(new Dictionary<string, IImageFetcher>
        {
            ["docker"] = new RegistryImageFetcher(registry),
            ["oci"] = new OciLayoutImageFetcher(),
            ["oci-archive"] = archives,
            ["docker-archive"] = archives,
        });
        owned = fetcher;
        return fetcher;
    }
}
