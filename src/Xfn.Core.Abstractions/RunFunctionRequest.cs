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
}

/// <summary>When and with which credentials an image is pulled.</summary>
public sealed record ImagePullConfig
{
    /// <summary>When the registry is asked. Unspecified means <see cref="ImagePullPolicy.IfNotPresent"/>.</summary>
    public ImagePullPolicy PullPolicy { get; init; }

    /// <summary>Credentials for the registry; without them the runner's own are used.</summary>
    public ImagePullAuth? Auth { get; init; }
}

/// <summary>When the registry is asked for an image.</summary>
/// <remarks>The cache is one for all callers of a runner: an image that was pulled with one caller's credentials is given under <see cref="IfNotPresent"/> and <see cref="Never"/> to
/// every caller that names it. <see cref="Always"/> has the registry decide each time, by one HEAD request with the caller's own credentials.</remarks>
public enum ImagePullPolicy
{
    /// <summary>As <see cref="IfNotPresent"/>.</summary>
    Unspecified = 0,

    /// <summary>From the cache; from the registry when the cache lacks it. A source that says nothing of how long its names keep their meaning (files, memory, a fetcher of
    /// one's own) is asked what a name means at each run all the same: <see cref="IImageFetcher.IsStable"/>.</summary>
    IfNotPresent = 1,

    /// <summary>The registry is asked for the manifest every time; layers that the cache holds are not fetched again.</summary>
    Always = 2,

    /// <summary>From the cache only.</summary>
    Never = 3,
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
    /// <summary>What the function may use of the machine.</summary>
    public ResourceConfig Resources { get; init => field = value ?? new(); } = new();

    /// <summary>What the function may reach.</summary>
    public NetworkConfig Network { get; init => field = value ?? new(); } = new();

    /// <summary>How long a function may run whose <see cref="Timeout"/> is null: 25 seconds.</summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(25);

    /// <summary>How long the function may run, from its start. Pulling the image does not count; in a streaming run, the time
    /// that the streams take for its output does. More than 0, at most 24 days; null, the default, for
    /// <see cref="DefaultTimeout"/>.</summary>
    public TimeSpan? Timeout { get; init; }
}

/// <summary>What a function may use of the machine.</summary>
public sealed record ResourceConfig
{
    /// <summary>Upper limits.</summary>
    public ResourceLimits Limits { get; init => field = value ?? new(); } = new();
}

/// <summary>Upper limits, as Kubernetes writes quantities. A limit that cannot be enforced is an error, never ignored.</summary>
public sealed record ResourceLimits
{
    /// <summary>Memory in bytes: <c>512Mi</c>, <c>1G</c>, <c>1e9</c>. No limit when null or empty.</summary>
    public string? Memory { get; init; }

    /// <summary>Processors: <c>500m</c> or <c>0.5</c> is half of one. No limit when null or empty.</summary>
    public string? Cpu { get; init; }
}

/// <summary>What a function may reach.</summary>
public sealed record NetworkConfig
{
    /// <summary>Unspecified means <see cref="NetworkPolicy.Isolated"/>.</summary>
    public NetworkPolicy Policy { get; init; }
}

/// <summary>Which network a function sees.</summary>
public enum NetworkPolicy
{
    /// <summary>As <see cref="Isolated"/>.</summary>
    Unspecified = 0,

    /// <summary>Only a loopback interface of its own.</summary>
    Isolated = 1,

    /// <summary>The runner's network, its abstract Unix sockets included.</summary>
    Runner = 2,
}

/// <summary>The streams of a run that does not hold its input and output in memory.</summary>
public sealed record FunctionStreams
{
    /// <summary>What the function reads on stdin; empty by default. It is read after the container has started, to its end or
    /// until the function ends. A read that ignores cancellation is abandoned 0.5 s after the function ends.</summary>
    public Stream Stdin { get; init => field = value ?? Stream.Null; } = Stream.Null;

    /// <summary>Written with what the function writes to stdout. Discarded by default.</summary>
    public Stream Stdout { get; init => field = value ?? Stream.Null; } = Stream.Null;

    /// <summary>Written with what the function writes to stderr. Discarded by default; its tail is in the response either way.</summary>
    public Stream Stderr { get; init => field = value ?? Stream.Null; } = Stream.Null;
}
