using System.Net;

namespace Xfn.Core;

/// <summary>What a container gets besides what its image says, or instead of it.</summary>
/// <remarks>What is set here wins over the runner's own options (<c>BundleOptions</c>), and these win over the image.
/// What makes no sense is an <see cref="InvalidRequestException"/> of the run that it belongs to, which names the value.
/// Collections are copied when the run begins.</remarks>
public record ContainerSettings
{
    /// <summary>The program and its first arguments, instead of the image's entrypoint. As with docker, it drops the
    /// image's command too. Empty for no entrypoint. Null, the default, for the image's.</summary>
    public IReadOnlyList<string>? Entrypoint { get; init; }

    /// <summary>The arguments behind the entrypoint, instead of the image's command. Without an entrypoint the first of
    /// them is the program. Null, the default, for the image's; none where an <see cref="Entrypoint"/> is
    /// given.</summary>
    public IReadOnlyList<string>? Arguments { get; init; }

    /// <summary>Environment variables, by name. None by default: the container then has the image's and the
    /// runner's.</summary>
    public IDictionary<string, string> Environment { get; init => field = value ?? new Dictionary<string, string>(); } = new Dictionary<string, string>();

    /// <summary>The working directory, an absolute path. It is made where the image lacks it. Null, the default, for
    /// the image's.</summary>
    public string? WorkingDirectory { get; init; }

    /// <summary>The user and group: <c>user</c>, <c>uid</c>, <c>user:group</c>, <c>uid:gid</c>, <c>uid:group</c> or
    /// <c>user:gid</c>. Names are looked up in the image. Null, the default, for the image's.</summary>
    public string? User { get; init; }

    /// <summary>The host name: at most 64 letters, digits, hyphens and dots. Null, the default, for the image's, or
    /// <c>xfn</c>.</summary>
    public string? Hostname { get; init; }

    /// <summary>Names in the container's <c>/etc/hosts</c>, and their addresses. None by default.</summary>
    public IDictionary<string, IPAddress> ExtraHosts { get; init => field = value ?? new Dictionary<string, IPAddress>(); } = new Dictionary<string, IPAddress>();

    /// <summary>The hosts outside that an isolated container may reach by TCP, through the runner. At most 256, each
    /// <c>HOST:PORT</c>, <c>*.DOMAIN:PORT</c> for all names below a domain, <c>ADDRESS:PORT</c> or
    /// <c>[IPV6-ADDRESS]:PORT</c>. None by default.</summary>
    /// <remarks>
    /// <para>A proxy for HTTP and SOCKS 5 listens on the container's loopback; <c>HTTP_PROXY</c>, <c>HTTPS_PROXY</c>,
    /// <c>ALL_PROXY</c> and <c>NO_PROXY</c> tell programs of it, unless <see cref="Environment"/> has them. Programs
    /// that know of no proxy reach the hosts that are listed by their whole names too: the container's
    /// <c>/etc/hosts</c> leads them to the runner. A host with a port at which the container itself listens (the image
    /// exposes it, or <see cref="ContainerRequest.Ready"/> waits for it) is reached through the proxy only.</para>
    /// <para>The runner looks names up, and connects with this machine's rights: to public addresses that are not the
    /// machine's own. An address that is listed by its number may be any. A name is no promise of what is behind
    /// it.</para>
    /// </remarks>
    public IList<string> Egress { get; init => field = value ?? []; } = [];

    /// <summary>What is mounted besides, in the order of mounting: at most 256. None by default.</summary>
    public IList<Mount> Mounts { get; init => field = value ?? []; } = [];

    /// <summary>The size, in bytes, of a writable layer over the image's files. It lives in memory, counts against the
    /// memory limit, and goes with the container. From 64 KiB to 1 TiB, or 0 for a root that cannot be written to.
    /// Null, the default, for the runner's (<c>BundleOptions.WritableRootBytes</c>).</summary>
    public long? WritableRootBytes { get; init; }

    /// <summary>The signal that asks the container's first process to end, before it is killed: a name such as
    /// <c>SIGINT</c> or <c>RTMIN+3</c>, or a number from 1 to 64. Null, the default, for the image's, or
    /// <c>SIGTERM</c>.</summary>
    public string? StopSignal { get; init; }
}
