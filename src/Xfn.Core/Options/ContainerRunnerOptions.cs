using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Cache;
using Xfn.Core.Diagnostics;
using Xfn.Core.Options;

namespace Xfn.Core;

/// <summary>How a <see cref="ContainerRunner"/> is set up.</summary>
/// <remarks>The runner checks and copies them when it is made; later changes have no effect. The methods set properties
/// and return the options, so that calls can follow each other.</remarks>
public sealed class ContainerRunnerOptions
{
    internal const long DefaultMaxStdioBytes = 100 << 20;

    /// <summary>Gets or sets the machine's user id that is root inside containers, where this process may choose (with
    /// CAP_SETUID and CAP_SETGID). From 1 to 4,294,901,759: the 65,536 ids from there on are mapped, and must be nobody
    /// else's. Null, the default, for 2,010,000,000 and all ids from there to 2,147,483,647, which useradd, systemd and
    /// sssd give to nobody.</summary>
    /// <remarks>In a container that lacks those, the default is the last 65,536 ids that it has, or as many as it has,
    /// but not root's own. A cache with images that an earlier version unpacked from 100,000 on keeps those ids, with a
    /// warning.</remarks>
    public uint? RootUid { get; set; }

    /// <summary>Gets or sets the machine's group id that is root's group inside containers, with the range and the
    /// default of <see cref="RootUid"/>.</summary>
    public uint? RootGid { get; set; }

    /// <summary>Gets or sets how ids are mapped. Null, the default, for the most that is possible: by capabilities,
    /// else by the caller's subordinate ids (newuidmap), else the caller's own id alone. A way that is asked for and
    /// not possible here is an error.</summary>
    public IdMappingMethod? IdMapping { get; set; }

    /// <summary>Gets or sets the directory for images and runs. It must be the caller's, and writable by nobody else.
    /// <see cref="ContainerRunner.DefaultCacheDirectory"/> by default.</summary>
    public string CacheDirectory { get; set; } = DefaultCache.Find().Directory;

    /// <summary>Gets or sets the directory in which a cache is made that is this runner's alone, and gone with it
    /// (<see cref="WithEphemeralCache"/>). Null, the default, to use <see cref="CacheDirectory"/>, which has no effect
    /// otherwise.</summary>
    public string? EphemeralCacheParent { get; set; }

    /// <summary>Gets or sets how many bytes the cached layers may take. At least 0; null, the default, for no
    /// limit.</summary>
    /// <remarks>When a pull exceeds it, the least recently used images are removed in the background. Images in use and
    /// the one just pulled are kept. An image that is larger by itself is kept until another is pulled, and a warning
    /// is logged.</remarks>
    public long? CacheLimit { get; set; }

    /// <summary>Gets or sets the memory limit, in bytes, of runs that ask for none. From 1 MiB to 4 PiB. A run fails
    /// where the limit cannot be enforced. Null, the default, for none: such a function may then take all of the
    /// machine's memory. A server sets one by itself (<c>ContainerRunnerServiceOptions.UseDefaultLimits</c>).</summary>
    public long? DefaultMemoryBytes { get; set; }

    /// <summary>Gets or sets the registry of images that name none, as <c>HOST[:PORT]</c>.
    /// <see cref="ImageReference.DefaultRegistry"/> by default.</summary>
    public string DefaultRegistry { get; set; } = ImageReference.DefaultRegistry;

    /// <summary>Gets or sets the platform to choose from an index, such as <c>linux/arm64</c>. Another platform's
    /// programs run only where the kernel has an interpreter for them (binfmt_misc). Null, the default, for this
    /// machine's platform, with the level of its processor.</summary>
    public Platform? Platform { get; set; }

    /// <summary>Gets or sets where to log. Nowhere by default.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <summary>Gets or sets the OCI runtime that makes containers, such as crun or runc: a name to be found in PATH,
    /// or a path. With a runtime, functions cannot be prepared (<see cref="ContainerRunner.PrepareAsync"/>). Null, the
    /// default, for none: xfn-spark makes them by itself, in half the time of crun.</summary>
    public string? Runtime { get; set; }

    /// <summary>Gets or sets the path of xfn-spark. Null, the default, for the one that comes with the
    /// package.</summary>
    public string? SparkPath { get; set; }

    /// <summary>Gets or sets how many bytes of input, and how many of each output stream, a run may have that holds
    /// them in memory. Stderr is bounded by it in every run. From 1 to 2,147,483,591; 100 MiB by default.</summary>
    public long MaxStdioBytes { get; set; } = DefaultMaxStdioBytes;

    /// <summary>Gets or sets how many runs go on at once. Others wait, in the order in which they came. At least 1;
    /// four a processor, and 8 or more, by default.</summary>
    public int MaxConcurrency { get; set; } = Math.Max(8, 4 * Environment.ProcessorCount);

    /// <summary>Gets or sets how many runs may wait for a place before further ones fail with
    /// <see cref="RunnerBusyException"/>. At least 0; 10,000 by default.</summary>
    public int MaxQueuedRuns { get; set; } = 10_000;

    /// <summary>Gets or sets how many namespaces are kept ready, each for one run to come. They cost about 3 MB of
    /// memory each and no processor time, are made from the second run on, and end when no run has come for 30 seconds.
    /// At least 0, for none; 2 by default.</summary>
    public int ReadyNamespaces { get; set; } = 2;

    /// <summary>Gets or sets whether a process of the runner's makes the xfn-spark of each run by a copy of itself, from
    /// the second run on. That spares about two fifths of a run's processor time (docs/performance.md), and takes 4 MB of
    /// memory. Up to a thousand copies have their memory in the same places (docs/security.md): set it to false where
    /// each is to have its own. Where the kernel refuses it, <c>unshare</c> makes all, and the log says so, for
    /// debugging. It ends with the runner. No part of it is used where <see cref="NamespaceSpawner"/> is set. True by
    /// default.</summary>
    public bool ForkSparks { get; set; } = true;

    /// <summary>Gets or sets how much an image may hold when it is unpacked. The defaults of
    /// <see cref="Xfn.Core.UnpackLimits"/>
    /// by default.</summary>
    public UnpackLimits UnpackLimits { get; set; } = new();

    /// <summary>Gets or sets how registries are reached, where <see cref="ImageFetcher"/> is null. The logger and the
    /// clock are the runner's. The defaults of <see cref="RegistryOptions"/> by default.</summary>
    public RegistryOptions Registry { get; set; } = new();

    /// <summary>Gets or sets what functions get, where <see cref="BundleBuilder"/> is null. The defaults of
    /// <see cref="BundleOptions"/> by default.</summary>
    public BundleOptions Bundle { get; set; } = new();

    /// <summary>Gets or sets where images come from. It is not disposed with the runner. Null, the default, for a
    /// <see cref="DefaultImageFetcher"/>.</summary>
    public IImageFetcher? ImageFetcher { get; set; }

    /// <summary>Gets or sets what makes bundles. Null, the default, for <see cref="RuntimeBundleBuilder"/>.</summary>
    public IBundleBuilder? BundleBuilder { get; set; }

    /// <summary>Gets or sets what makes namespaces. It is not disposed with the runner. Null, the default, for a
    /// <see cref="Xfn.Core.NamespaceSpawner"/>.</summary>
    public INamespaceSpawner? NamespaceSpawner { get; set; }

    /// <summary>Gets or sets what makes the pipes of a run. Null, the default, for <see cref="StdioPipes"/>.</summary>
    public IStdioPiper? StdioPiper { get; set; }

    /// <summary>Gets or sets the clock for timeouts and waits. The system's by default.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Sets <see cref="RootUid"/> and <see cref="RootGid"/>.</summary>
    /// <param name="uid">The machine's user id that is root inside.</param>
    /// <param name="gid">The machine's group id that is root's group inside.</param>
    public ContainerRunnerOptions MapToRoot(uint uid, uint gid)
    {
        (RootUid, RootGid) = (uid, gid);
        return this;
    }

    /// <summary>Sets <see cref="IdMapping"/>.</summary>
    /// <param name="use">Whether to map many ids with CAP_SETUID and CAP_SETGID, and fail without them; otherwise only
    /// the caller's own id is mapped, to root.</param>
    public ContainerRunnerOptions SetUID(bool use)
    {
        IdMapping = use ? IdMappingMethod.Capabilities : IdMappingMethod.Self;
        return this;
    }

    /// <summary>Sets <see cref="CacheDirectory"/>.</summary>
    /// <param name="directory">The directory; made when it does not exist.</param>
    public ContainerRunnerOptions WithCacheDir(string directory)
    {
        CacheDirectory = directory;
        return this;
    }

    /// <summary>Gives the runner a cache of its own, which is gone when the runner is disposed. When the process was
    /// killed, the cache is removed by another such runner of the same user with the same parent, when that one is next
    /// used or disposed.</summary>
    /// <param name="parent">The directory to make it in, with room for the images, and where programs may be executed
    /// (no noexec); null for the temporary directory (TMPDIR, else <c>/tmp</c>).</param>
    public ContainerRunnerOptions WithEphemeralCache(string? parent = null)
    {
        EphemeralCacheParent = parent ?? Path.GetTempPath();
        return this;
    }

    /// <summary>Sets <see cref="DefaultRegistry"/>.</summary>
    /// <param name="registry">A host, with a port if need be.</param>
    public ContainerRunnerOptions WithRegistry(string registry)
    {
        DefaultRegistry = registry;
        return this;
    }

    /// <summary>Sets <see cref="Platform"/>.</summary>
    /// <param name="platform"><c>linux/arm64</c>, <c>linux/arm/v7</c>.</param>
    /// <exception cref="ArgumentException">It is not written so.</exception>
    public ContainerRunnerOptions WithPlatform(string platform)
    {
        Platform = (platform ?? "").Split('/') switch
        {
            [{ Length: > 0 } os, { Length: > 0 } architecture] => new Platform { Os = os, Architecture = architecture },
            [{ Length: > 0 } os, { Length: > 0 } architecture, { Length: > 0 } variant] => new Platform { Os = os, Architecture = architecture, Variant = variant },
            _ => throw new ArgumentException($"cannot use platform '{platform}': expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as in linux/arm64."),
        };
        return this;
    }

    /// <summary>Sets <see cref="Runtime"/>.</summary>
    /// <param name="runtime">A name or a path; null for none.</param>
    public ContainerRunnerOptions WithRuntime(string? runtime)
    {
        Runtime = runtime;
        return this;
    }

    /// <summary>Sets <see cref="Logger"/>.</summary>
    /// <param name="logger">Where to log.</param>
    public ContainerRunnerOptions WithLogger(ILogger logger)
    {
        Logger = logger;
        return this;
    }

    /// <summary>Sets options from their names and values as text, as a configuration or a command line has them.
    /// docs/options.md lists the names, and how values are written.</summary>
    /// <param name="settings">Names, such as <c>Bundle:TmpBytes</c>, and values, such as <c>128Mi</c>. With
    /// Microsoft.Extensions.Configuration: <c>section.AsEnumerable(makePathsRelative: true)</c>.</param>
    /// <returns>These options.</returns>
    /// <exception cref="ArgumentException">A name is no option, or a value cannot be used; the message names it. What
    /// came before it is set.</exception>
    public ContainerRunnerOptions Bind(IEnumerable<KeyValuePair<string, string?>> settings)
    {
        OptionBinder.Bind(this, settings);
        return this;
    }

    /// <summary>Whether images are flattened and overlays not even tried.</summary>
    internal bool FlattenImages { get; set; }

    /// <summary>A copy, checked but for what only a later room can check: the bundle's options, and how ids are
    /// mapped.</summary>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    internal ContainerRunnerOptions CheckedCopy()
    {
        var copy = (ContainerRunnerOptions)MemberwiseClone();
        OptionCheck.NotBlank(CacheDirectory, nameof(CacheDirectory));
        OptionCheck.NotBlank(EphemeralCacheParent ?? CacheDirectory, nameof(EphemeralCacheParent));
        OptionCheck.NotBlank(Runtime ?? CacheDirectory, nameof(Runtime));
        OptionCheck.AtLeast(nameof(CacheLimit), CacheLimit, 0);
        if (DefaultMemoryBytes is { } memory)
            OptionCheck.Range(nameof(DefaultMemoryBytes), memory, Quantity.MinMemoryBytes, Quantity.MaxMemoryBytes);
        OptionCheck.Range(nameof(MaxStdioBytes), MaxStdioBytes, 1, Array.MaxLength);
        OptionCheck.AtLeast<int>(nameof(MaxConcurrency), MaxConcurrency, 1);
        OptionCheck.AtLeast<int>(nameof(MaxQueuedRuns), MaxQueuedRuns, 0);
        OptionCheck.AtLeast<int>(nameof(ReadyNamespaces), ReadyNamespaces, 0);
        CheckRoot(nameof(RootUid), RootUid, ContainerRunner.UserNamespaceUIDs);
        CheckRoot(nameof(RootGid), RootGid, ContainerRunner.UserNamespaceGIDs);
        if (IdMapping is { } method && !Enum.IsDefined(method))
            throw new ArgumentException($"cannot use option {nameof(IdMapping)} '{method}': expected one of {string.Join(", ", Enum.GetNames<IdMappingMethod>())}.");
        if (!ImageReference.TryParse("x", DefaultRegistry ?? "", out _, out string? error))
            throw new ArgumentException($"cannot use option {nameof(DefaultRegistry)} '{DefaultRegistry}': {error}");
        copy.UnpackLimits = OptionCheck.NotNull(UnpackLimits, nameof(UnpackLimits)).CheckedCopy();
        copy.Registry = OptionCheck.NotNull(Registry, nameof(Registry)).CheckedCopy($"{nameof(Registry)}:");
        copy.Bundle = OptionCheck.NotNull(Bundle, nameof(Bundle)).Copy();
        OptionCheck.NotNull(Logger, nameof(Logger));
        OptionCheck.NotNull(TimeProvider, nameof(TimeProvider));
        return copy;
    }

    /// <summary>Root inside must never be root outside by way of this option, and all ids must exist.</summary>
    private static void CheckRoot(string option, uint? id, uint count)
    {
        if (id == 0 || id > uint.MaxValue - count)
        {
            throw new ArgumentOutOfRangeException(
                null, $"cannot use option {option} '{id}', from which {count} ids are mapped: expected 1 to {uint.MaxValue - count}. To map the caller itself to root, set option IdMapping=Self.");
        }
    }
}
