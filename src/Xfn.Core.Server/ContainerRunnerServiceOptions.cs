namespace Xfn.Core;

/// <summary>What callers of a served runner may ask for. What they may not is refused with PermissionDenied, and the message says so.</summary>
/// <remarks>Image references come from callers: without <see cref="AllowedImages"/> a caller makes the server speak to any host that it names.</remarks>
public class ContainerRunnerServiceOptions
{
    /// <summary>The images that may be run: registries (<c>registry.example.org:5000</c>), or repositories and what is below them
    /// (<c>registry.example.org/functions</c>, <c>docker.io/library/busybox</c>). Every image of every registry when empty, the default.</summary>
    public IList<string> AllowedImages { get; } = [];

    /// <summary>Whether callers may name files and directories of this machine (<c>oci:PATH</c>, <c>oci-archive:PATH</c>, <c>docker-archive:PATH</c>). False by default.</summary>
    public bool AllowLocalImages { get; set; }

    /// <summary>Whether callers may have functions use this machine's network (<see cref="NetworkPolicy.Runner"/>). False by default.</summary>
    public bool AllowRunnerNetwork { get; set; }

    /// <summary>When callers may have the registry asked. All of them by default; without <see cref="ImagePullPolicy.IfNotPresent"/> callers must say what they want.</summary>
    public ISet<ImagePullPolicy> AllowedPullPolicies { get; } = new HashSet<ImagePullPolicy> { ImagePullPolicy.IfNotPresent, ImagePullPolicy.Always, ImagePullPolicy.Never };

    /// <summary>The longest timeout that callers may ask for, and the one of callers that ask for none if the default of 25 seconds is longer. No limit when null, the default.</summary>
    public TimeSpan? MaxTimeout { get; set; }

    /// <summary>The most memory that callers may ask for, and the limit of callers that ask for none, such as <c>512Mi</c>. Null, the default, for no limit of what they ask for; see
    /// <see cref="UseDefaultLimits"/> for those that ask for none.</summary>
    public string? MaxMemory { get; set; }

    /// <summary>The most of the processors that callers may ask for, and the limit of callers that ask for none, such as <c>500m</c>. No limit when null, the default.</summary>
    public string? MaxCpu { get; set; }

    /// <summary>Whether a <see cref="ContainerRunner"/> whose options set neither gets a <see cref="ContainerRunnerOptions.DefaultMemory"/> (a half of the machine's memory, divided by
    /// <see cref="ContainerRunnerOptions.MaxConcurrency"/>, at least 128 MiB) and a <see cref="ContainerRunnerOptions.CacheLimit"/> (a fifth of the cache's disk). They hold where they can be enforced;
    /// the log says at the start what they are, and where not. True by default.</summary>
    public bool UseDefaultLimits { get; set; } = true;

    /// <summary>The registry of images that name none; null, the default, for that of a <see cref="ContainerRunner"/>, and <see cref="ImageReference.DefaultRegistry"/> for other runners.</summary>
    public string? DefaultRegistry { get; set; }

    /// <summary>The largest input that is taken, in bytes; larger requests get ResourceExhausted. Null, the default, for what a <see cref="ContainerRunner"/> takes, and
    /// <see cref="ContainerRunner.MaxStdioBytes"/> for other runners.</summary>
    public long? MaxInputBytes { get; set; }

    /// <summary>How many bytes all calls in progress may hold together, in bytes; more than 0, 512 MiB by default. A request is counted as its bytes come, those of a compressed one as they are
    /// decompressed as well, and 32 KiB besides; an answer until its caller has taken it. Where they are too many, the largest of the requests that still arrive gets ResourceExhausted. One call that
    /// is alone is always taken. The server itself takes up to three times as much.</summary>
    public long MaxPendingInputBytes { get; set; } = 512L << 20;

    /// <summary>How long the bytes of a request may stay away.</summary>
    internal TimeSpan InputPatience { get; set; } = TimeSpan.FromSeconds(10);
}
