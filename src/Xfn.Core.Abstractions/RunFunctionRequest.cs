namespace Xfn.Core;

/// <summary>One run of one function.</summary>
public sealed record RunFunctionRequest
{
    /// <summary>The image's reference as docker writes it (<c>registry.example.org/functions/resize:v2</c>), or a local
    /// source (<c>oci:PATH[:TAG]</c>). See <see cref="ImageReference"/>.</summary>
    public required string Image { get; init; }

    /// <summary>The bytes the function reads on stdin. Not copied: do not change them while the run lasts.</summary>
    public ReadOnlyMemory<byte> Input { get; init; }

    /// <summary>When and with which credentials the image is pulled.</summary>
    public ImagePullConfig ImagePullConfig { get; init => field = value ?? new(); } = new();

    /// <summary>Limits, network and timeout.</summary>
    public RunFunctionConfig RunFunctionConfig { get; init => field = value ?? new(); } = new();

    /// <summary>Arguments, environment, user, mounts and the like. Null, the default, for what the image says.</summary>
    public ContainerSettings? Container { get; init; }
}

/// <summary>When and with which credentials an image is pulled.</summary>
public sealed record ImagePullConfig
{
    /// <summary>When the registry is asked. <see cref="ImagePullPolicy.IfNotPresent"/> by default.</summary>
    public ImagePullPolicy PullPolicy { get; init; }

    /// <summary>Credentials for the registry. Null, the default, for the runner's own.</summary>
    public ImagePullAuth? Auth { get; init; }
}

/// <summary>When the registry is asked for an image.</summary>
/// <remarks>All callers of a runner share its cache: an image that was pulled with one caller's credentials is given to
/// every caller that names it, under <see cref="IfNotPresent"/> and <see cref="Never"/>. With <see cref="Always"/> the
/// registry decides each time, by one HEAD request with the caller's own credentials.</remarks>
public enum ImagePullPolicy
{
    /// <summary>From the cache, and from the registry when the cache lacks the image. A source that does not say that
    /// its names keep their meaning (<see cref="IImageFetcher.IsStable"/>), such as files, memory, or a fetcher of
    /// one's own, is asked at each run what a name means.</summary>
    IfNotPresent,

    /// <summary>The registry is asked for the manifest every time. Layers that the cache holds are not fetched
    /// again.</summary>
    Always,

    /// <summary>From the cache only.</summary>
    Never,
}

/// <summary>Credentials for one registry. Never written to a log, an error or a file.</summary>
public sealed record ImagePullAuth
{
    /// <summary>User name, for basic authentication.</summary>
    public string? Username { get; init; }

    /// <summary>Password or access token, for basic authentication.</summary>
    public string? Password { get; init; }

    /// <summary>Base64 of <c>username:password</c>, as docker's configuration file has it.</summary>
    public string? Auth { get; init; }

    /// <summary>An OAuth2 refresh token, exchanged for a registry token.</summary>
    public string? IdentityToken { get; init; }

    /// <summary>A bearer token that is sent to the registry as it is.</summary>
    public string? RegistryToken { get; init; }

    /// <summary>Says which fields are set, never what they hold.</summary>
    public override string ToString()
    {
        string[] set = [.. Fields().Where(f => !string.IsNullOrEmpty(f.Value)).Select(f => f.Name)];
        return $"{nameof(ImagePullAuth)} {{ {(set.Length == 0 ? "empty" : string.Join(", ", set) + " set")} }}";
    }

    private (string Name, string? Value)[] Fields() =>
    [
        (nameof(Username), Username), (nameof(Password), Password), (nameof(Auth), Auth),
        (nameof(IdentityToken), IdentityToken), (nameof(RegistryToken), RegistryToken),
    ];
}

/// <summary>How a function is run.</summary>
public sealed record RunFunctionConfig
{
    /// <summary>How long a function may run whose <see cref="Timeout"/> is null: 25 seconds.</summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(25);

    /// <summary>How long the function may run, from its start. Pulling the image does not count; in a streaming run,
    /// the time that the streams take for its output does. More than 0, at most 24 days; null, the default, for
    /// <see cref="DefaultTimeout"/>.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>How much of the machine the function may use. No limits by default, but those of the runner.</summary>
    public ResourceLimits Limits { get; init => field = value ?? new(); } = new();

    /// <summary>Which network the function sees. <see cref="NetworkPolicy.Isolated"/> by default.</summary>
    public NetworkPolicy Network { get; init; }

    /// <summary>Whether the run may wait in the runner's queue. True by default; a run that may not is refused with
    /// <see cref="RunnerBusyException"/> where no place is free.</summary>
    public bool MayWait { get; init; } = true;
}

/// <summary>How much of the machine a function may use. A limit that cannot be enforced is an error, never
/// ignored.</summary>
public sealed record ResourceLimits
{
    /// <summary>Memory in bytes, from 1 MiB to 4 PiB. Null, the default, for the runner's own limit
    /// (<c>ContainerRunnerOptions.DefaultMemoryBytes</c>).</summary>
    public long? MemoryBytes { get; init; }

    /// <summary>Processors: 0.5 is half the time of one. From 0.001 to 8,192, rounded up to thousandths. Null, the
    /// default, for no limit.</summary>
    public double? Cpus { get; init; }
}

/// <summary>Which network a function sees.</summary>
public enum NetworkPolicy
{
    /// <summary>Only a loopback interface of its own.</summary>
    Isolated,

    /// <summary>The runner's network, with its abstract Unix sockets.</summary>
    Runner,
}

/// <summary>The streams of a run that does not hold its input and output in memory.</summary>
public sealed class FunctionStreams
{
    /// <summary>What the function reads on stdin; empty by default. It is read after the container has started, to its
    /// end or until the function ends. A read that ignores cancellation is abandoned 0.5 s after the function
    /// ends.</summary>
    public Stream Stdin { get; init => field = value ?? Stream.Null; } = Stream.Null;

    /// <summary>Written with what the function writes to stdout. Discarded by default.</summary>
    public Stream Stdout { get; init => field = value ?? Stream.Null; } = Stream.Null;

    /// <summary>Written with what the function writes to stderr. Discarded by default; its tail is in the response
    /// either way.</summary>
    public Stream Stderr { get; init => field = value ?? Stream.Null; } = Stream.Null;
}
