using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Diagnostics;
using Xfn.Core.Options;
using Xfn.Core.Registry;

namespace Xfn.Core;

/// <summary>How a <see cref="RemoteContainerRunner"/> reaches its servers.</summary>
/// <remarks>The runner checks and copies them when it is made; later changes have no effect.</remarks>
public sealed class RemoteContainerRunnerOptions
{
    private const long MostStdioBytes = 2_000_000_000;

    /// <summary>Gets or sets the servers: one of <c>unix:PATH</c>, <c>unix-abstract:NAME</c> or <c>@NAME</c>,
    /// <c>http://HOST:PORT</c>, <c>https://HOST:PORT</c>, or <c>dns:///HOST:PORT</c> for all the addresses of a name,
    /// asked for anew every half minute; or several of <c>http://</c> or of <c>https://</c>. A run goes to one of several
    /// servers by its image, so write them alike in all programs that call them. None by default; at least one is
    /// needed.</summary>
    /// <remarks>Over <c>http://</c> and <c>dns:///</c> anybody on the way can read the requests, the credentials for
    /// registries among them. Use it on a network that is your own.</remarks>
    public IList<string> Addresses { get; set; } = [];

    /// <summary>Gets or sets whether the servers of a <c>dns:///</c> address speak TLS; the name is then the one that
    /// their certificates must have. False by default.</summary>
    public bool UseTls { get; set; }

    /// <summary>Gets or sets the certificate authorities to trust besides the system's. None by default.</summary>
    public X509Certificate2Collection CertificateAuthorities { get; set; } = [];

    /// <summary>Gets or sets the path of a PEM file with more of <see cref="CertificateAuthorities"/>, which is read
    /// once. Null, the default, for none.</summary>
    public string? CertificateAuthoritiesFile { get; set; }

    /// <summary>Gets or sets the certificates, with their keys, that tell a server who calls. None by
    /// default.</summary>
    public X509Certificate2Collection ClientCertificates { get; set; } = [];

    /// <summary>Gets or sets the path of a PEM file with one more of <see cref="ClientCertificates"/>, which is read
    /// once. Null, the default, for none.</summary>
    public string? ClientCertificateFile { get; set; }

    /// <summary>Gets or sets the path of the PEM file with the key that belongs to <see cref="ClientCertificateFile"/>.
    /// Null, the default, where that file has the key as well.</summary>
    public string? ClientCertificateKeyFile { get; set; }

    /// <summary>Gets or sets how many bytes of input and of output a run may have. From 1 to 2,000,000,000, and no more
    /// than the server allows; 100 MiB by default.</summary>
    public long MaxStdioBytes { get; set; } = ContainerRunnerOptions.DefaultMaxStdioBytes;

    /// <summary>Gets or sets how long a run may take besides its timeout: waiting for a place, pulling the image, and
    /// the way there and back. More than 0; 5 minutes by default.</summary>
    public TimeSpan PullTimeAllowance { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>Gets or sets how long a connection may take to be made. More than 0; 5 seconds by default.</summary>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>Gets or sets how often in all a run is offered that no server has taken: because none was there, or,
    /// where there are several, because one failed before it started the function or had no room in its queue. Being
    /// asked for a free place does not count. At least 1, which is never more; 5 by default.</summary>
    /// <remarks>Waits of 50 ms and twice as long each time, up to a second, lie in between. Where there are several
    /// servers and none was reached, the run is offered every 50 ms instead for 300 ms times this number, since for
    /// some seconds a server that has gone is taken for one that is there. That no server answers is so told within 2
    /// seconds, or <see cref="ConnectTimeout"/> where none refuses either.</remarks>
    public int MaxAttempts { get; set; } = 5;

    /// <summary>Gets or sets whether a run whose server was lost on the way is tried again as well. False by default:
    /// such a run fails with <see cref="ServerUnavailableException.MayHaveStarted"/>.</summary>
    /// <remarks>The function may have been started, and so may run twice. That is harmless for one on an isolated
    /// network, which can do nothing but answer.</remarks>
    public bool RetryLostRuns { get; set; }

    /// <summary>Gets or sets where to log. Nowhere by default.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <summary>Gets or sets the clock for deadlines and waits. The system's by default.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Sets options from their names and values as text, as a configuration or a command line has them.
    /// docs/options.md lists the names, and how values are written.</summary>
    /// <param name="settings">Names, such as <c>ConnectTimeout</c>, and values, such as <c>5s</c>. With
    /// Microsoft.Extensions.Configuration: <c>section.AsEnumerable(makePathsRelative: true)</c>.</param>
    /// <returns>These options.</returns>
    /// <exception cref="ArgumentException">A name is no option, or a value cannot be used; the message names it. What
    /// came before it is set.</exception>
    public RemoteContainerRunnerOptions Bind(IEnumerable<KeyValuePair<string, string?>> settings)
    {
        OptionBinder.Bind(this, settings);
        return this;
    }

    /// <summary>A copy, checked but for the addresses, and with the certificates that files hold.</summary>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    internal RemoteContainerRunnerOptions CheckedCopy()
    {
        var copy = (RemoteContainerRunnerOptions)MemberwiseClone();
        OptionCheck.NotNull(Logger, nameof(Logger));
        OptionCheck.NotNull(TimeProvider, nameof(TimeProvider));
        OptionCheck.Range(nameof(MaxStdioBytes), MaxStdioBytes, 1, MostStdioBytes);
        OptionCheck.MoreThanZero(nameof(PullTimeAllowance), PullTimeAllowance);
        OptionCheck.MoreThanZero(nameof(ConnectTimeout), ConnectTimeout);
        OptionCheck.AtLeast<int>(nameof(MaxAttempts), MaxAttempts, 1);
        copy.Addresses = [.. OptionCheck.NotNull(Addresses, nameof(Addresses))];
        copy.CertificateAuthorities = [.. OptionCheck.NotNull(CertificateAuthorities, nameof(CertificateAuthorities))];
        copy.ClientCertificates = [.. OptionCheck.NotNull(ClientCertificates, nameof(ClientCertificates))];
        if (CertificateAuthoritiesFile is { } authorities)
            copy.CertificateAuthorities.AddRange(PemFile.Certificates(authorities, nameof(CertificateAuthoritiesFile)));
        if (ClientCertificateFile is { } certificate)
            copy.ClientCertificates.Add(PemFile.WithKey(certificate, ClientCertificateKeyFile, nameof(ClientCertificateFile)));
        else if (ClientCertificateKeyFile is not null)
            throw new ArgumentException($"cannot use option {nameof(ClientCertificateKeyFile)} without a certificate. Set {nameof(ClientCertificateFile)} as well.");
        return copy;
    }
}
