using Xfn.Core.Diagnostics;
using Xfn.Core.Options;

namespace Xfn.Core;

/// <summary>What callers of a served runner may ask for. What they may not is refused with PermissionDenied, and the
/// message says so.</summary>
/// <remarks>Image references come from callers: without <see cref="AllowedImages"/> a caller makes the server speak to
/// any host that it names. The server checks and copies the options when it is made; later changes have no
/// effect.</remarks>
public class ContainerRunnerServiceOptions
{
    /// <summary>Gets or sets the images that may be run: registries (<c>registry.example.org:5000</c>), or repositories
    /// and what is below them (<c>registry.example.org/functions</c>, <c>docker.io/library/busybox</c>). Empty, the
    /// default, for every image of every registry.</summary>
    public IList<string> AllowedImages { get; set; } = [];

    /// <summary>Gets or sets whether callers may name files and directories of this machine (<c>oci:PATH</c>,
    /// <c>oci-archive:PATH</c>, <c>docker-archive:PATH</c>). False by default.</summary>
    public bool AllowLocalImages { get; set; }

    /// <summary>Gets or sets whether callers may have functions use this machine's network
    /// (<see cref="NetworkPolicy.Runner"/>). False by default.</summary>
    public bool AllowRunnerNetwork { get; set; }

    /// <summary>Gets or sets whether callers may have <see cref="AllowedImages"/> run other programs than their own: by
    /// an entrypoint, arguments, environment variables, or files that they send. False by default. Where every image is
    /// allowed they may: who can name any image has any program.</summary>
    public bool AllowPrograms { get; set; }

    /// <summary>Gets or sets whether callers may choose the user that a function runs as
    /// (<see cref="ContainerSettings.User"/>). False by default.</summary>
    public bool AllowUser { get; set; }

    /// <summary>Gets or sets whether callers may have a root that can be written to
    /// (<see cref="ContainerSettings.WritableRootBytes"/>). False by default.</summary>
    public bool AllowWritableRoot { get; set; }

    /// <summary>Gets or sets whether callers may add names to a function's <c>/etc/hosts</c>
    /// (<see cref="ContainerSettings.ExtraHosts"/>). False by default.</summary>
    public bool AllowExtraHosts { get; set; }

    /// <summary>Gets or sets whether callers may list hosts that a function reaches through this machine
    /// (<see cref="ContainerSettings.Egress"/>), by their names. False by default. Addresses, which may be this
    /// machine's own, take <see cref="AllowRunnerNetwork"/> besides.</summary>
    public bool AllowEgress { get; set; }

    /// <summary>Gets or sets when callers may have the registry asked. All three policies by default. Without
    /// <see cref="ImagePullPolicy.IfNotPresent"/> callers must say which one they want.</summary>
    public ISet<ImagePullPolicy> AllowedPullPolicies { get; set; } =
        new HashSet<ImagePullPolicy> { ImagePullPolicy.IfNotPresent, ImagePullPolicy.Always, ImagePullPolicy.Never };

    /// <summary>Gets or sets the longest timeout that callers may ask for. It is also the timeout of callers that ask
    /// for none, where <see cref="RunFunctionConfig.DefaultTimeout"/> is longer. More than 0; null, the default, for no
    /// limit.</summary>
    public TimeSpan? MaxTimeout { get; set; }

    /// <summary>Gets or sets the most memory that callers may ask for, and the limit of callers that ask for none, in
    /// bytes. From 1 MiB to 4 PiB; null, the default, for no limit of what they ask for;
    /// <see cref="UseDefaultLimits"/> says what those get that ask for none.</summary>
    public long? MaxMemoryBytes { get; set; }

    /// <summary>Gets or sets the most processors that callers may ask for, and the limit of callers that ask for none.
    /// From 0.001 to 8,192, rounded up to thousandths; null, the default, for no limit.</summary>
    public double? MaxCpus { get; set; }

    /// <summary>Gets or sets whether a <see cref="ContainerRunner"/> gets limits where its options have none: a
    /// <see cref="ContainerRunnerOptions.DefaultMemoryBytes"/> (a half of the machine's memory, divided by
    /// <see cref="ContainerRunnerOptions.MaxConcurrency"/>, at least 128 MiB) and a
    /// <see cref="ContainerRunnerOptions.CacheLimit"/> (a fifth of the cache's disk). They hold where they can be
    /// enforced; the log says at the start what they are, and where not. True by default.</summary>
    public bool UseDefaultLimits { get; set; } = true;

    /// <summary>Gets or sets the registry of images that name none, as <c>HOST[:PORT]</c>. Null, the default, for that
    /// of a <see cref="ContainerRunner"/>, and <see cref="ImageReference.DefaultRegistry"/> for other
    /// runners.</summary>
    public string? DefaultRegistry { get; set; }

    /// <summary>Gets or sets the largest input that is taken, in bytes; larger requests get ResourceExhausted. At least
    /// 1; null, the default, for what a <see cref="ContainerRunner"/> takes, and 100 MiB for other runners.</summary>
    public long? MaxInputBytes { get; set; }

    /// <summary>Gets or sets how many bytes all calls in progress may hold together. At least 1; 512 MiB by
    /// default.</summary>
    /// <remarks>A request is counted as its bytes come, those of a compressed one as they are decompressed as well, and
    /// 44 KiB besides; an answer until its caller has taken it. Where they are too many, the largest of the requests
    /// that still arrive gets ResourceExhausted. One call that is alone is always taken. The server itself takes up to
    /// three times as much.</remarks>
    public long MaxPendingInputBytes { get; set; } = 512L << 20;

    /// <summary>How long the bytes of a request may stay away.</summary>
    internal TimeSpan InputPatience { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Sets options from their names and values as text, as a configuration or a command line has them.
    /// docs/options.md lists the names, and how values are written.</summary>
    /// <param name="settings">Names, such as <c>MaxTimeout</c>, and values, such as <c>30s</c>. With
    /// Microsoft.Extensions.Configuration: <c>section.AsEnumerable(makePathsRelative: true)</c>.</param>
    /// <returns>These options.</returns>
    /// <exception cref="ArgumentException">A name is no option, or a value cannot be used; the message names it. What
    /// came before it is set.</exception>
    public virtual ContainerRunnerServiceOptions Bind(IEnumerable<KeyValuePair<string, string?>> settings)
    {
        OptionBinder.Bind(this, settings);
        return this;
    }

    /// <summary>A copy, checked but for the images and the quantities.</summary>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    internal virtual ContainerRunnerServiceOptions CheckedCopy()
    {
        var copy = (ContainerRunnerServiceOptions)MemberwiseClone();
        OptionCheck.AtLeast(nameof(MaxInputBytes), MaxInputBytes, 1);
        OptionCheck.AtLeast<long>(nameof(MaxPendingInputBytes), MaxPendingInputBytes, 1);
        OptionCheck.MoreThanZero(nameof(MaxTimeout), MaxTimeout);
        copy.AllowedImages = [.. OptionCheck.NotNull(AllowedImages, nameof(AllowedImages))];
        copy.AllowedPullPolicies = OptionCheck.NotNull(AllowedPullPolicies, nameof(AllowedPullPolicies)).ToHashSet();
        return copy;
    }
}
