using System.Collections.Frozen;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Xfn.Core;

/// <summary>How registries are reached. Without any of it: by HTTPS, or HTTP on this machine's loopback, with the system's trust, the environment's
/// proxies, and the credentials of docker's and podman's configuration files.</summary>
public sealed record RegistryOptions
{
    /// <summary>Told of retries, mirrors that fail and credentials that are looked up; never of a secret.</summary>
    public ILogger Logger { get; init => field = value ?? throw new ArgumentNullException(nameof(Logger)); } = NullLogger.Instance;

    /// <summary>The clock of retries, timeouts and token lifetimes.</summary>
    public TimeProvider TimeProvider { get; init => field = value ?? throw new ArgumentNullException(nameof(TimeProvider)); } = TimeProvider.System;

    /// <summary>Replaces the connections; not disposed. It must not follow redirects itself. Certificates, proxies, and refusing names that redirects
    /// lead to and that resolve to private addresses, are then its own matter.</summary>
    public HttpMessageHandler? HttpHandler { get; init; }

    /// <summary>Trusted besides the system's own; so are those in the PEM file that the variable CA_BUNDLE_PATH names, and, for one registry, those in its directory
    /// (<see cref="UseCertificateDirectories"/>).</summary>
    public X509Certificate2Collection CertificateAuthorities { get; init => field = value ?? throw new ArgumentNullException(nameof(CertificateAuthorities)); } = [];

    /// <summary>Whether docker's and podman's directories of certificates are read: the first there is of <c>~/.config/containers/certs.d/HOST[:PORT]</c> and the same below
    /// <c>/etc/containers</c> and <c>/etc/docker</c>. <c>*.crt</c> are trusted for that registry and the hosts that it leads to; <c>NAME.cert</c> with <c>NAME.key</c> shows the registry who
    /// this machine is. Files that change are read again. On by default.</summary>
    public bool UseCertificateDirectories { get; init; } = true;

    /// <summary>Registries that are spoken to by plain HTTP, as <c>HOST</c> or <c>HOST:PORT</c>; by TLS, with a certificate that is trusted, where that is what they speak.
    /// This machine's loopback need not be among them.</summary>
    public IReadOnlySet<string> InsecureRegistries { get; init => field = value ?? throw new ArgumentNullException(nameof(InsecureRegistries)); } = FrozenSet<string>.Empty;

    /// <summary>By registry, where to ask before the registry itself, in this order: <c>HOST[:PORT][/PREFIX]</c>. One that fails in any way is passed over.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Mirrors { get; init => field = value ?? throw new ArgumentNullException(nameof(Mirrors)); } = FrozenDictionary<string, IReadOnlyList<string>>.Empty;

    /// <summary>Whether layers that the registry lacks are fetched from the URLs that the manifest names for them. Off by default: whoever wrote the
    /// image would choose whom this machine talks to.</summary>
    public bool AllowForeignLayers { get; init; }

    /// <summary>Asked for a registry's credentials, when the registry wants some and the request brought none; null for
    /// none. When it throws, that is logged, and what comes next is asked.</summary>
    public Func<string, CancellationToken, ValueTask<ImagePullAuth?>>? Credentials { get; init; }

    /// <summary>Whether docker's and podman's configuration, in the variable DOCKER_AUTH_CONFIG and in files, and the
    /// credential helpers that it names are asked last. What cannot be read is passed over with a warning, and is named
    /// by the error when the registry wants credentials. On by default.</summary>
    public bool UseCredentialFiles { get; init; } = true;

    /// <summary>How often a request that failed in passing is repeated, at growing intervals. 4 by default; 0 for never.</summary>
    public int MaxRetries { get; init; } = 4;

    /// <summary>How long a request may wait for its response's headers, and a download be without progress, before it is given up. There is no limit on
    /// a whole download. 60 seconds by default.</summary>
    public TimeSpan NoProgressTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The first interval between retries.</summary>
    internal TimeSpan RetryDelay { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Where the directories of certificates are, besides the user's own.</summary>
    internal IReadOnlyList<string> CertificateDirectories { get; init; } = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

    /// <summary>How long a connection may take to be made, TLS and all.</summary>
    internal TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a credential helper may take: long enough for one that asks a cloud, or a person.</summary>
    internal TimeSpan HelperTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The environment's proxies, as the framework reads them.</summary>
    internal IWebProxy Proxy { get; init; } = HttpClient.DefaultProxy;

    /// <summary>Reads an environment variable.</summary>
    internal Func<string, string?> GetEnvironmentVariable { get; init; } = Environment.GetEnvironmentVariable;
}
