using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Cache;

namespace Xfn.Core;

/// <summary>How a <see cref="ContainerRunner"/> is set up: settable properties, and methods that set them one behind the other.</summary>
/// <remarks>The runner checks and copies them when it is made; later changes have no effect.</remarks>
public sealed class ContainerRunnerOptions
{
    /// <summary>The machine's user id that is root inside containers, where this process may choose (with CAP_SETUID
    /// and CAP_SETGID). 65,536 ids are mapped from there on, which must be nobody else's. Null, the default, for
    /// 2,010,000,000 and all ids from there to 2,147,483,647: ids that useradd, systemd and sssd give to nobody. In a
    /// container that lacks those, the last 65,536 ids that it has, or as many as it has, but not root's own. A cache
    /// with images that an earlier version unpacked from 100,000 on keeps those ids, with a warning.</summary>
    public uint? RootUid { get; set; }

    /// <summary>The machine's group id that is root's group inside containers, likewise.</summary>
    public uint? RootGid { get; set; }

    /// <summary>Whether to map many ids, which takes CAP_SETUID and CAP_SETGID (true); only the caller's own, to root (false); or, the default, the most that is possible: with
    /// the capabilities, with the caller's subordinate ids (newuidmap), or its own id alone.</summary>
    public bool? UseSetUID { get; set; }

    /// <summary>The directory for images and runs: the caller's, and writable by nobody else. By default <see cref="ContainerRunner.DefaultCacheDirectory"/>.</summary>
    public string CacheDirectory { get; set; } = DefaultCache.Find().Directory;

    /// <summary>The directory in which a cache is made that is this runner's alone, and gone with it: <see cref="WithEphemeralCache"/>. Null, the default, to use <see cref="CacheDirectory"/>, which
    /// counts for nothing otherwise.</summary>
    public string? EphemeralCacheParent { get; set; }

    /// <summary>How many bytes the layers in the cache may take: a pull that goes over it has images pruned behind the run, the least recently used first, never what a run uses,
    /// nor the image just pulled: one that is larger by itself is kept until another is pulled, and a warning is logged. Null, the default, for no limit.</summary>
    public long? CacheLimit { get; set; }

    /// <summary>The memory limit of runs that ask for none, as a Kubernetes quantity from 1Mi to 4Pi, such as <c>512Mi</c>. A run fails where it cannot be enforced. Null, the default, for none: such a
    /// function may then take all of the machine's memory. A server sets one by itself (<c>ContainerRunnerServiceOptions.UseDefaultLimits</c>).</summary>
    public string? DefaultMemory { get; set; }

    /// <summary>The registry of images that name none. <see cref="ImageReference.DefaultRegistry"/> by default.</summary>
    public string DefaultRegistry { get; set; } = ImageReference.DefaultRegistry;

    /// <summary>The platform to choose from an index; null, the default, for this machine's, with the level of its processor. Another one runs only where the kernel has an interpreter for it (binfmt_misc).</summary>
    public Platform? Platform { get; set; }

    /// <summary>Where to log. Nowhere by default.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <summary>The OCI runtime that makes containers, such as crun, runc or runsc: a name to be found in PATH, or a path. Null, the default, for none: xfn-spark makes
    /// them by itself, in half the time of crun. With a runtime, functions cannot be prepared (<see cref="ContainerRunner.PrepareAsync"/>).</summary>
    public string? Runtime { get; set; }

    /// <summary>The path of xfn-spark; null to use the one that comes with the package.</summary>
    public string? SparkPath { get; set; }

    /// <summary>How many bytes of input, and how many of each output stream, a run may have that holds them in memory; stderr is bounded by it in every run.
    /// <see cref="ContainerRunner.MaxStdioBytes"/> by default.</summary>
    public long MaxStdioBytes { get; set; } = ContainerRunner.MaxStdioBytes;

    /// <summary>How many runs go on at once; others wait in the order they came. Four a processor by default, at least 8.</summary>
    public int MaxConcurrency { get; set; } = Math.Max(8, 4 * Environment.ProcessorCount);

    /// <summary>How many runs may wait for a place before further ones fail with <see cref="RunnerBusyException"/>. 10,000 by default.</summary>
    public int MaxQueuedRuns { get; set; } = 10_000;

    /// <summary>How many namespaces are kept ready for runs to come, each for one run: they cost about 3 MB of memory and no processor time, are made from the second run on, and
    /// end when no run has come for 30 seconds. 2 by default; 0 for none.</summary>
    public int ReadyNamespaces { get; set; } = 2;

    /// <summary>How much an image may hold when it is unpacked.</summary>
    public UnpackLimits UnpackLimits { get; set; } = new();

    /// <summary>How registries are reached, where <see cref="ImageFetcher"/> is null. The logger and the clock are the runner's.</summary>
    public RegistryOptions Registry { get; set; } = new();

    /// <summary>What functions get, where <see cref="BundleBuilder"/> is null.</summary>
    public BundleOptions Bundle { get; set; } = new();

    /// <summary>Where images come from; null for registries, and for this machine's OCI layouts and archives.</summary>
    public IImageFetcher? ImageFetcher { get; set; }

    /// <summary>Describes containers; null for the default, <see cref="RuntimeBundleBuilder"/> with the options of <see cref="Bundle"/>.</summary>
    public IBundleBuilder? BundleBuilder { get; set; }

    /// <summary>Makes namespaces; null for the default, util-linux's unshare.</summary>
    public INamespaceSpawner? NamespaceSpawner { get; set; }

    /// <summary>Makes the pipes of a run; null for <see cref="StdioPipes"/>.</summary>
    public IStdioPiper? StdioPiper { get; set; }

    /// <summary>The clock for timeouts and waits.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Sets <see cref="RootUid"/> and <see cref="RootGid"/>.</summary>
    /// <param name="uid">The machine's user id that is root inside.</param>
    /// <param name="gid">The machine's group id that is root's group inside.</param>
    public ContainerRunnerOptions MapToRoot(uint uid, uint gid) => Set(() => (RootUid, RootGid) = (uid, gid));

    /// <summary>Sets <see cref="UseSetUID"/>.</summary>
    /// <param name="use">Whether to map many ids.</param>
    public ContainerRunnerOptions SetUID(bool use) => Set(() => UseSetUID = use);

    /// <summary>Sets <see cref="CacheDirectory"/>.</summary>
    /// <param name="directory">The directory; made when it does not exist.</param>
    public ContainerRunnerOptions WithCacheDir(string directory) => Set(() => CacheDirectory = directory);

    /// <summary>Gives the runner a cache of its own, which is gone when it is disposed; when the process was killed, when another such runner of the same user with the same parent is next used or
    /// disposed. Every image is pulled anew: for tests, and for programs that are to leave nothing at all.</summary>
    /// <param name="parent">The directory to make it in, with room for the images, and where programs may be executed (no noexec); null for the temporary directory (TMPDIR, else <c>/tmp</c>).</param>
    public ContainerRunnerOptions WithEphemeralCache(string? parent = null) => Set(() => EphemeralCacheParent = parent ?? Path.GetTempPath());

    /// <summary>Sets <see cref="CacheLimit"/>.</summary>
    /// <param name="bytes">The limit, in bytes; at least 0.</param>
    public ContainerRunnerOptions WithCacheLimit(long bytes) => Set(() => CacheLimit = bytes);

    /// <summary>Sets <see cref="DefaultMemory"/>.</summary>
    /// <param name="memory">The limit, such as <c>512Mi</c>; null for none.</param>
    public ContainerRunnerOptions WithDefaultMemory(string? memory) => Set(() => DefaultMemory = memory);

    /// <summary>Sets <see cref="DefaultRegistry"/>.</summary>
    /// <param name="registry">A host, with a port if need be.</param>
    public ContainerRunnerOptions WithRegistry(string registry) => Set(() => DefaultRegistry = registry);

    /// <summary>Sets <see cref="Platform"/>.</summary>
    /// <param name="platform"><c>linux/arm64</c>, <c>linux/arm/v7</c>.</param>
    /// <exception cref="ArgumentException">It is not written so.</exception>
    public ContainerRunnerOptions WithPlatform(string platform) => Set(() => Platform = (platform ?? "").Split('/') switch
    {
        [{ Length: > 0 } os, { Length: > 0 } architecture] => new Platform { Os = os, Architecture = architecture },
        [{ Length: > 0 } os, { Length: > 0 } architecture, { Length: > 0 } variant] => new Platform { Os = os, Architecture = architecture, Variant = variant },
        _ => throw new ArgumentException($"cannot use platform '{platform}': expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as in linux/arm64.", nameof(platform)),
    });

    /// <summary>Sets <see cref="Logger"/>.</summary>
    /// <param name="logger">Where to log.</param>
    public ContainerRunnerOptions WithLogger(ILogger logger) => Set(() => Logger = logger);

    /// <summary>Sets <see cref="Runtime"/>.</summary>
    /// <param name="runtime">A name or a path; null for none.</param>
    public ContainerRunnerOptions WithRuntime(string? runtime) => Set(() => Runtime = runtime);

    /// <summary>Sets <see cref="SparkPath"/>.</summary>
    /// <param name="path">The executable.</param>
    public ContainerRunnerOptions WithSparkPath(string path) => Set(() => SparkPath = path);

    /// <summary>Sets <see cref="MaxStdioBytes"/>.</summary>
    /// <param name="bytes">The limit, in bytes; more than 0.</param>
    public ContainerRunnerOptions WithMaxStdioBytes(long bytes) => Set(() => MaxStdioBytes = bytes);

    /// <summary>Sets <see cref="MaxConcurrency"/> and, when given, <see cref="MaxQueuedRuns"/>.</summary>
    /// <param name="runs">How many runs go on at once; at least 1.</param>
    /// <param name="queued">How many more may wait; at least 0.</param>
    public ContainerRunnerOptions WithMaxConcurrency(int runs, int? queued = null) => Set(() => (MaxConcurrency, MaxQueuedRuns) = (runs, queued ?? MaxQueuedRuns));

    /// <summary>Sets <see cref="ReadyNamespaces"/>.</summary>
    /// <param name="count">How many; at least 0.</param>
    public ContainerRunnerOptions WithReadyNamespaces(int count) => Set(() => ReadyNamespaces = count);

    /// <summary>Changes <see cref="UnpackLimits"/>.</summary>
    /// <param name="change">Gives the new limits: <c>l => l with { MaxImageBytes = 1L &lt;&lt; 30, MaxLayerBytes = 1L &lt;&lt; 30 }</c>.</param>
    public ContainerRunnerOptions WithUnpackLimits(Func<UnpackLimits, UnpackLimits> change) => Set(() => UnpackLimits = change(UnpackLimits));

    /// <summary>Changes <see cref="Registry"/>.</summary>
    /// <param name="change">Gives the new options: <c>r => r with { MaxRetries = 0 }</c>.</param>
    public ContainerRunnerOptions WithRegistryOptions(Func<RegistryOptions, RegistryOptions> change) => Set(() => Registry = change(Registry));

    /// <summary>Trusts a certificate authority besides the system's, for registries.</summary>
    /// <param name="certificates">Its certificates.</param>
    public ContainerRunnerOptions WithCertificateAuthority(X509Certificate2Collection certificates) =>
        WithRegistryOptions(r => r with { CertificateAuthorities = [.. r.CertificateAuthorities, .. certificates] });

    /// <summary>Asks for a registry's credentials when it wants some and the request brought none.</summary>
    /// <param name="credentials">Given the registry's host; null for none.</param>
    public ContainerRunnerOptions WithCredentials(Func<string, CancellationToken, ValueTask<ImagePullAuth?>> credentials) =>
        WithRegistryOptions(r => r with { Credentials = credentials });

    /// <summary>Reaches registries by a handler of one's own, which is not disposed.</summary>
    /// <param name="handler">It must not follow redirects.</param>
    public ContainerRunnerOptions WithHttpHandler(HttpMessageHandler handler) => WithRegistryOptions(r => r with { HttpHandler = handler });

    /// <summary>Changes <see cref="Bundle"/>.</summary>
    /// <param name="change">Gives the new options: <c>b => b with { TmpBytes = 1 &lt;&lt; 30 }</c>.</param>
    public ContainerRunnerOptions WithBundleOptions(Func<BundleOptions, BundleOptions> change) => Set(() => Bundle = change(Bundle));

    /// <summary>Sets how many processes and threads a function may have: <see cref="BundleOptions.ProcessLimit"/>.</summary>
    /// <param name="processes">From 16 to 4,194,304.</param>
    public ContainerRunnerOptions WithProcessLimit(int processes) => WithBundleOptions(b => b with { ProcessLimit = processes });

    /// <summary>Sets <see cref="ImageFetcher"/>.</summary>
    /// <param name="fetcher">Where images come from. Not disposed with the runner.</param>
    public ContainerRunnerOptions WithImageFetcher(IImageFetcher fetcher) => Set(() => ImageFetcher = fetcher);

    /// <summary>Sets <see cref="BundleBuilder"/>.</summary>
    /// <param name="builder">Describes containers.</param>
    public ContainerRunnerOptions WithBundleBuilder(IBundleBuilder builder) => Set(() => BundleBuilder = builder);

    /// <summary>Sets <see cref="NamespaceSpawner"/>.</summary>
    /// <param name="spawner">Makes namespaces.</param>
    public ContainerRunnerOptions WithNamespaceSpawner(INamespaceSpawner spawner) => Set(() => NamespaceSpawner = spawner);

    /// <summary>Sets <see cref="StdioPiper"/>.</summary>
    /// <param name="piper">Makes the pipes of a run.</param>
    public ContainerRunnerOptions WithStdioPiper(IStdioPiper piper) => Set(() => StdioPiper = piper);

    /// <summary>Sets <see cref="TimeProvider"/>.</summary>
    /// <param name="time">The clock.</param>
    public ContainerRunnerOptions WithTimeProvider(TimeProvider time) => Set(() => TimeProvider = time);

    /// <summary>Whether images are flattened and overlays not even tried.</summary>
    internal bool FlattenImages { get; set; }

    private ContainerRunnerOptions Set(Action set)
    {
        set();
        return this;
    }
}
