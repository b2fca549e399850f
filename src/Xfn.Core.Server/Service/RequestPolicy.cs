using Microsoft.Extensions.Logging;
using Xfn.Core.Cgroups;
using Xfn.Core.Remote;

namespace Xfn.Core.Server;

/// <summary>A caller asks for what this server does not allow.</summary>
internal sealed class RefusedRequestException(string message) : Exception(message);

/// <summary>What callers may ask for, checked and copied.</summary>
internal sealed record RequestPolicy
{
    /// <summary>The runner's, for requests without a timeout.</summary>
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(25);

    private RequestPolicy()
    {
    }

    public required long MaxInputBytes { get; init; }

    public required long MaxPendingInputBytes { get; init; }

    /// <summary>How long the bytes of a request may stay away.</summary>
    public required TimeSpan InputPatience { get; init; }

    /// <summary>Whether a runner gets limits where it has none.</summary>
    public required bool UseDefaultLimits { get; init; }

    public required string DefaultRegistry { get; init; }

    public required string[] AllowedImages { get; init; }

    public required bool AllowLocalImages { get; init; }

    public required bool AllowRunnerNetwork { get; init; }

    public required HashSet<ImagePullPolicy> AllowedPullPolicies { get; init; }

    public required TimeSpan? MaxTimeout { get; init; }

    public required string? MaxMemory { get; init; }

    public required string? MaxCpu { get; init; }

    /// <exception cref="ArgumentException">An option makes no sense.</exception>
    public static RequestPolicy From(ContainerRunnerServiceOptions options, IContainerRunner runner)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.MaxInputBytes ?? 1, "options.MaxInputBytes");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.MaxPendingInputBytes, "options.MaxPendingInputBytes");
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(options.MaxTimeout ?? TimeSpan.MaxValue, TimeSpan.Zero, "options.MaxTimeout");
        try
        {
            CgroupLimits.From(new ResourceLimits { Memory = options.MaxMemory, Cpu = options.MaxCpu });
        }
        catch (InvalidRequestException ex)
        {
            throw new ArgumentException(ex.Message, nameof(options), ex);
        }

        string registry = options.DefaultRegistry ?? (runner as ContainerRunner)?.Settings.DefaultRegistry ?? ImageReference.DefaultRegistry;
        return new RequestPolicy
        {
            MaxInputBytes = options.MaxInputBytes ?? (runner as ContainerRunner)?.Settings.MaxStdioBytes ?? ContainerRunner.MaxStdioBytes,
            MaxPendingInputBytes = options.MaxPendingInputBytes,
            InputPatience = options.InputPatience,
            UseDefaultLimits = options.UseDefaultLimits,
            DefaultRegistry = registry,
            AllowedImages = [.. options.AllowedImages.Select(i => Normalize(i, registry))],
            AllowLocalImages = options.AllowLocalImages,
            AllowRunnerNetwork = options.AllowRunnerNetwork,
            AllowedPullPolicies = [.. options.AllowedPullPolicies],
            MaxTimeout = options.MaxTimeout,
            MaxMemory = options.MaxMemory,
            MaxCpu = options.MaxCpu,
        };
    }

    /// <summary>Gives a runner limits where it has none.</summary>
    public ServerDefaults? GiveDefaults(IContainerRunner runner) => UseDefaultLimits ? (runner as ContainerRunner)?.UseServerDefaults() : null;

    /// <summary>Logs what it was given.</summary>
    public void Tell(ServerDefaults? defaults, ILogger logger)
    {
        // With a largest one, that is what those get who ask for none.
        if (defaults?.MemoryBytes is { } memory && MaxMemory is null)
        {
            if (defaults.MemoryProblem is { } problem)
                ServerLog.NoDefaultMemory(logger, problem);
            else
                ServerLog.DefaultMemory(logger, memory);
        }

        if (defaults?.CacheBytes is { } cache)
            ServerLog.DefaultCacheLimit(logger, cache);
    }

    /// <summary>Checks a request, and puts in what it leaves to the server.</summary>
    /// <exception cref="InvalidRequestException">It cannot be run as it stands.</exception>
    /// <exception cref="RefusedRequestException">It asks for too much.</exception>
    public RunFunctionRequest Apply(RunFunctionRequest request)
    {
        RunFunctionConfig config = request.RunFunctionConfig;
        if (config.Network.Policy == NetworkPolicy.Runner && !AllowRunnerNetwork)
            throw new RefusedRequestException("cannot give a function the server's network: this server does not allow it. Ask for an isolated network, or ask the server's operator.");
        ImagePullPolicy pull = request.ImagePullConfig.PullPolicy is ImagePullPolicy.Unspecified ? ImagePullPolicy.IfNotPresent : request.ImagePullConfig.PullPolicy;
        if (!AllowedPullPolicies.Contains(pull))
            throw new RefusedRequestException($"cannot use pull policy '{pull}': this server allows {string.Join(", ", AllowedPullPolicies.Order())}. Ask for one of them.");

        // What was checked is what is run: the runner does not come to another reading of the same words.
        return request with
        {
            Image = Check(request.Image).ToString(),
            RunFunctionConfig = config with { Timeout = Check(config.Timeout), Resources = config.Resources with { Limits = Check(config.Resources.Limits) } },
        };
    }

    /// <summary>A registry or repository, as references name it: REGISTRY or REGISTRY/NAME.</summary>
    private static string Normalize(string prefix, string defaultRegistry)
    {
        string trimmed = (prefix ?? "").TrimEnd('/');
        string first = trimmed.Split('/')[0];
        bool hasHost = first.AsSpan().ContainsAny(".:[") || first == "localhost";
        string path = hasHost ? trimmed[first.Length..] : "/" + trimmed;

        // Something below it is a name in any case, where docker.io/x alone would be docker.io/library/x.
        if (trimmed.Length == 0 || !ImageReference.TryParse($"{(hasHost ? first : defaultRegistry)}{path}/below", defaultRegistry, out ImageReference? reference, out _) || reference.IsLocal)
            throw new ArgumentException($"cannot allow images '{prefix}': expected a registry or a repository without a tag, such as registry.example.org/functions.", nameof(prefix));
        return reference.Registry + path;
    }

    private ImageReference Check(string image)
    {
        if (!ImageReference.TryParse(image, DefaultRegistry, out ImageReference? reference, out string? error))
            throw new InvalidRequestException(error);
        if (reference.IsLocal)
        {
            return AllowLocalImages
                ? reference
                : throw new RefusedRequestException($"cannot run an image of the server's file system ({reference.Transport}): this server does not allow it. Push the image to a registry.");
        }

        string name = $"{reference.Registry}/{reference.Repository}";
        return AllowedImages.Length == 0 || AllowedImages.Any(a => name.StartsWith(a, StringComparison.Ordinal) && (name.Length == a.Length || name[a.Length] == '/'))
            ? reference
            : throw new RefusedRequestException($"cannot run image '{reference}': this server does not allow its registry or repository. Use another, or ask the server's operator.");
    }

    private TimeSpan? Check(TimeSpan? timeout)
    {
        if (MaxTimeout is not { } most)
            return timeout;
        if (timeout is null)
            return most < DefaultTimeout ? most : null;
        return timeout <= most
            ? timeout
            : throw new RefusedRequestException($"cannot use a timeout of {WireTrailers.Seconds(timeout.Value)} s: this server allows {WireTrailers.Seconds(most)} s at most. Ask for less.");
    }

    private ResourceLimits Check(ResourceLimits limits)
    {
        CgroupLimits asked = CgroupLimits.From(limits), most = CgroupLimits.From(new ResourceLimits { Memory = MaxMemory, Cpu = MaxCpu });
        if (asked.MemoryBytes > most.MemoryBytes)
            throw new RefusedRequestException($"cannot use a memory limit of '{limits.Memory}': this server allows {MaxMemory} at most. Ask for less.");
        if (asked.CpuMilli > most.CpuMilli)
            throw new RefusedRequestException($"cannot use a cpu limit of '{limits.Cpu}': this server allows {MaxCpu} at most. Ask for less.");
        return new ResourceLimits { Memory = asked.MemoryBytes is null ? MaxMemory : limits.Memory, Cpu = asked.CpuMilli is null ? MaxCpu : limits.Cpu };
    }
}
