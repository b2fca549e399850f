using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Diagnostics;
using Xfn.Core.Registry;

namespace Xfn.Core;

/// <summary>How registries are reached. Without any of it: by HTTPS, or HTTP on this machine's loopback, with the
/// system's trust, the environment's proxies, and the credentials of docker's and podman's configuration
/// files.</summary>
/// <remarks>What takes them checks and copies them when it is made; later changes have no effect.</remarks>
public sealed class RegistryOptions
{
    /// <summary>Gets or sets a handler that replaces the connections. It is not disposed, and must not follow redirects
    /// itself. Certificates, proxies, and refusing names that redirects lead to and that resolve to private addresses,
    /// are then its own matter. Null, the default, for none.</summary>
    public HttpMessageHandler? HttpHandler { get; set; }

    /// <summary>Gets or sets the certificate authorities to trust besides the system's. None by default.</summary>
    /// <remarks>Those in the PEM file that the variable CA_BUNDLE_PATH names are trusted too and, for one registry,
    /// those in its directory (<see cref="UseCertificateDirectories"/>).</remarks>
    public X509Certificate2Collection CertificateAuthorities { get; set; } = [];

    /// <summary>Gets or sets the path of a PEM file with more of <see cref="CertificateAuthorities"/>, which is read
    /// once. Null, the default, for none.</summary>
    public string? CertificateAuthoritiesFile { get; set; }

    /// <summary>Gets or sets whether docker's and podman's directories of certificates are read: the first there is of
    /// <c>~/.config/containers/certs.d/HOST[:PORT]</c> and the same below <c>/etc/containers</c> and
    /// <c>/etc/docker</c>. True by default.</summary>
    /// <remarks><c>*.crt</c> are trusted for that registry and the hosts that it leads to; <c>NAME.cert</c> with
    /// <c>NAME.key</c> shows the registry who this machine is. Files that change are read again.</remarks>
    public bool UseCertificateDirectories { get; set; } = true;

    /// <summary>Gets or sets the registries that are spoken to by plain HTTP, as <c>HOST</c> or <c>HOST:PORT</c>; by
    /// TLS, with a certificate that is trusted, where that is what they speak. This machine's loopback need not be
    /// among them. None by default.</summary>
    public ISet<string> InsecureRegistries { get; set; } = new HashSet<string>();

    /// <summary>Gets or sets, by registry, where to ask before the registry itself, in this order:
    /// <c>HOST[:PORT][/PREFIX]</c>. A mirror that fails in any way is passed over. None by default.</summary>
    public IDictionary<string, IList<string>> Mirrors { get; set; } = new Dictionary<string, IList<string>>();

    /// <summary>Gets or sets whether layers that the registry lacks are fetched from the URLs that the manifest names
    /// for them. False by default: the author of the image would choose whom this machine talks to.</summary>
    public bool AllowForeignLayers { get; set; }

    /// <summary>Gets or sets what is asked for a registry's credentials, given its host, when the registry wants some
    /// and the request brought none; it returns null for none. When it throws, that is logged, and the next source is
    /// asked. Null, the default, for nothing.</summary>
    public Func<string, CancellationToken, ValueTask<ImagePullAuth?>>? Credentials { get; set; }

    /// <summary>Gets or sets whether docker's and podman's configuration, in the variable DOCKER_AUTH_CONFIG and in
    /// files, and the credential helpers that it names are asked last. True by default.</summary>
    /// <remarks>What cannot be read is passed over with a warning. The error names it when the registry wants
    /// credentials.</remarks>
    public bool UseCredentialFiles { get; set; } = true;

    /// <summary>Gets or sets how often a request that failed in passing is repeated, at growing intervals. At least 0,
    /// for never; 4 by default.</summary>
    public int MaxRetries { get; set; } = 4;

    /// <summary>Gets or sets how long a request may wait for its response's headers, and a download be without
    /// progress, before it is given up. There is no limit on a whole download. More than 0; 60 seconds by
    /// default.</summary>
    public TimeSpan NoProgressTimeout { get; set; } = TimeSpan.FromSeconds(60);

    internal ILogger Logger { get; set; } = NullLogger.Instance;

    internal TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>The first interval between retries.</summary>
    internal TimeSpan RetryDelay { get; set; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Where the directories of certificates are, besides the user's own.</summary>
    internal IReadOnlyList<string> CertificateDirectories { get; set; } = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

    /// <summary>How long a connection may take to be made, TLS and all.</summary>
    internal TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a credential helper may take: long enough for one that asks a cloud, or a person.</summary>
    internal TimeSpan HelperTimeout { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>The environment's proxies, as the framework reads them.</summary>
    internal IWebProxy Proxy { get; set; } = HttpClient.DefaultProxy;

    /// <summary>Reads an environment variable.</summary>
    internal Func<string, string?> GetEnvironmentVariable { get; set; } = Environment.GetEnvironmentVariable;

    /// <summary>A copy, checked, and with the certificates that files hold.</summary>
    /// <param name="path">What the names of options begin with in messages: nothing, or <c>Registry:</c>.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    internal RegistryOptions CheckedCopy(string path = "")
    {
        var copy = (RegistryOptions)MemberwiseClone();
        OptionCheck.AtLeast<int>(path + nameof(MaxRetries), MaxRetries, 0);
        OptionCheck.MoreThanZero(path + nameof(NoProgressTimeout), NoProgressTimeout);
        copy.InsecureRegistries = OptionCheck.NotNull(InsecureRegistries, path + nameof(InsecureRegistries)).ToHashSet();
        copy.Mirrors = OptionCheck.NotNull(Mirrors, path + nameof(Mirrors))
            .ToDictionary(m => m.Key, m => (IList<string>)[.. OptionCheck.NotNull(m.Value, $"{path}{nameof(Mirrors)}:{m.Key}")]);
        copy.CertificateAuthorities = [.. OptionCheck.NotNull(CertificateAuthorities, path + nameof(CertificateAuthorities))];
        if (CertificateAuthoritiesFile is { } file)
            copy.CertificateAuthorities.AddRange(PemFile.Certificates(file, path + nameof(CertificateAuthoritiesFile)));
        copy.CertificateAuthoritiesFile = null;
        return copy;
    }
}
