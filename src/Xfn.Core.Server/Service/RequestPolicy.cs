using System.Globalization;
using Microsoft.Extensions.Logging;
using Xfn.Core.Cgroups;
using Xfn.Core.Egress;
using Xfn.Core.Remote;
using Xfn.Core.Runs;

namespace Xfn.Core.Server;

/// <summary>A caller asks for what this server does not allow.</summary>
internal sealed class RefusedRequestException(string message) : Exception(message);

/// <summary>What callers may ask for.</summary>
internal sealed class RequestPolicy
{
    private const int EnvelopeBytes = 64 << 10;

    private readonly ContainerRunnerServiceOptions _options;
    private readonly string[] _allowedImages;
    private readonly CgroupLimits _most;
    private readonly RunnerSettings? _runner;

    /// <exception cref="ArgumentException">An option makes no sense.</exception>
    public RequestPolicy(ContainerRunnerServiceOptions options, IContainerRunner runner)
    {
        _runner = (runner as ContainerRunner)?.Settings;
        ContainerRunnerOptions? own = _runner?.Options;
        _options = options;
        DefaultRegistry = options.DefaultRegistry ?? own?.DefaultRegistry ?? ImageReference.DefaultRegistry;
        MaxInputBytes = options.MaxInputBytes ?? own?.MaxStdioBytes ?? ContainerRunnerOptions.DefaultMaxStdioBytes;
        _allowedImages = [.. options.AllowedImages.Select(i => Normalize(i, DefaultRegistry))];
        try
        {
            _most = CgroupLimits.From(new ResourceLimits { MemoryBytes = options.MaxMemoryBytes, Cpus = options.MaxCpus });
        }
        catch (InvalidRequestException ex)
        {
            throw new ArgumentException(ex.Message, nameof(options), ex);
        }
    }

    public string DefaultRegistry { get; }

    public long MaxInputBytes { get; }

    public long MaxPendingInputBytes => _options.MaxPendingInputBytes;

    public TimeSpan InputPatience => _options.InputPatience;

    /// <summary>The most bytes of a request: its input, and what it may have besides.</summary>
    public int MaxMessageBytes => (int)Math.Min(MaxInputBytes + EnvelopeBytes, Array.MaxLength);

    /// <exception cref="ArgumentException">An option makes no sense.</exception>
    public static RequestPolicy From(ContainerRunnerServiceOptions options, IContainerRunner runner) => new(options.CheckedCopy(), runner);

    /// <summary>Gives a runner limits where it has none.</summary>
    public ServerDefaults? GiveDefaults(IContainerRunner runner) => _options.UseDefaultLimits ? (runner as ContainerRunner)?.UseServerDefaults() : null;

    /// <summary>Logs what it was given.</summary>
    public void Tell(ServerDefaults? defaults, ILogger logger)
    {
        // With a largest one, that is what those get who ask for none.
        if (defaults?.MemoryBytes is { } memory && _options.MaxMemoryBytes is null)
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
        if (config.Network == NetworkPolicy.Runner && !_options.AllowRunnerNetwork)
            throw new RefusedRequestException("cannot give a function the server's network: this server does not allow it. Ask for an isolated network, or ask the server's operator.");
        ImagePullPolicy pull = request.ImagePullConfig.PullPolicy;
        if (!_options.AllowedPullPolicies.Contains(pull))
            throw new RefusedRequestException($"cannot use pull policy '{pull}': this server allows {string.Join(", ", _options.AllowedPullPolicies.Order())}. Ask for one of them.");

        // What was checked is what is run: the runner does not come to another reading of the same words.
        ResourceLimits limits = Check(config.Limits);
        Check(request.Container, limits.MemoryBytes);
        return request with
        {
            Image = Check(request.Image).ToString(),
            RunFunctionConfig = config with { Timeout = Check(config.Timeout), Limits = limits },
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
            return _options.AllowLocalImages
                ? reference
                : throw new RefusedRequestException($"cannot run an image of the server's file system ({reference.Transport}): this server does not allow it. Push the image to a registry.");
        }

        string name = $"{reference.Registry}/{reference.Repository}";
        return _allowedImages.Length == 0 || _allowedImages.Any(a => name.StartsWith(a, StringComparison.Ordinal) && (name.Length == a.Length || name[a.Length] == '/'))
            ? reference
            : throw new RefusedRequestException($"cannot run image '{reference}': this server does not allow its registry or repository. Use another, or ask the server's operator.");
    }

    /// <summary>Refuses settings that are not the callers'.</summary>
    private void Check(ContainerSettings? settings, long? memoryBytes)
    {
        if (settings is null)
            return;
        Allow(settings.User is null, "a user", _options.AllowUser, nameof(_options.AllowUser));
        Allow(settings.WritableRootBytes is null or 0, "a root that can be written to", _options.AllowWritableRoot, nameof(_options.AllowWritableRoot));
        Allow(settings.ExtraHosts.Count == 0, "names of hosts", _options.AllowExtraHosts, nameof(_options.AllowExtraHosts));
        Allow(settings.Egress.Count == 0, "hosts to reach", _options.AllowEgress, nameof(_options.AllowEgress));
        if (settings.Egress.Count > 0 && !_options.AllowRunnerNetwork && EgressPolicy.Parse([.. settings.Egress]).HasAddresses)
            throw new RefusedRequestException($"cannot let a function reach an address of its caller's choice: it may be this server's own, and this server does not allow that (its option {nameof(_options.AllowRunnerNetwork)}). List hosts by their names, or ask the server's operator.");
        bool isImages = settings is { Entrypoint: null, Arguments: null, Environment.Count: 0 } && !settings.Mounts.Any(mount => mount is FileMount);
        Allow(isImages, "an entrypoint, arguments, variables or files", _options.AllowPrograms || _allowedImages.Length == 0, nameof(_options.AllowPrograms));

        // Where no memory limit is enforced, nothing else holds them.
        long most = memoryBytes ?? _runner?.DefaultMemoryBytes ?? _runner?.Options.Bundle.TmpBytes ?? new BundleOptions().TmpBytes;
        decimal asked = settings.Mounts.OfType<TmpfsMount>().Sum(tmpfs => (decimal)tmpfs.Bytes) + (settings.WritableRootBytes ?? 0);
        if (asked > most)
            throw new RefusedRequestException($"cannot give a function {asked} bytes of memory to write files to: all that it mounts may have as many as its memory limit, {most}. Ask for less, or for more memory.");

        static void Allow(bool isUnset, string what, bool isAllowed, string option)
        {
            if (!isUnset && !isAllowed)
                throw new RefusedRequestException($"cannot give a function {what} of its caller's choice: this server does not allow it (its option {option}). Leave that to the image, or ask the server's operator.");
        }
    }

    private TimeSpan? Check(TimeSpan? timeout)
    {
        if (_options.MaxTimeout is not { } most)
            return timeout;
        if (timeout is null)
            return most < RunFunctionConfig.DefaultTimeout ? most : null;
        return timeout <= most
            ? timeout
            : throw new RefusedRequestException($"cannot use a timeout of {WireTrailers.Seconds(timeout.Value)} s: this server allows {WireTrailers.Seconds(most)} s at most. Ask for less.");
    }

    private ResourceLimits Check(ResourceLimits limits)
    {
        CgroupLimits asked = CgroupLimits.From(limits);
        if (asked.MemoryBytes > _most.MemoryBytes)
            throw new RefusedRequestException($"cannot use a memory limit of {limits.MemoryBytes} bytes: this server allows {_options.MaxMemoryBytes} at most. Ask for less.");
        if (asked.CpuMilli > _most.CpuMilli)
            throw new RefusedRequestException(string.Create(CultureInfo.InvariantCulture, $"cannot use a limit of {limits.Cpus} processors: this server allows {_options.MaxCpus} at most. Ask for less."));
        return new ResourceLimits { MemoryBytes = limits.MemoryBytes ?? _options.MaxMemoryBytes, Cpus = limits.Cpus ?? _options.MaxCpus };
    }
}
