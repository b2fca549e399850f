using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Diagnostics;
using Xfn.Core.Options;

namespace Xfn.Core;

/// <summary>How a runner is served, and to whom.</summary>
public sealed class ContainerRunnerServerOptions : ContainerRunnerServiceOptions
{
    /// <summary>Gets or sets the users, besides the server's own and root, whose processes may call through a Unix
    /// socket. None by default.</summary>
    public ISet<uint> AllowedUids { get; set; } = new HashSet<uint>();

    /// <summary>Gets or sets whether processes that call through a Unix socket must be in the server's own user
    /// namespace. A process whose namespace cannot be read is refused. True by default.</summary>
    /// <remarks>A function that shares the machine's network can reach abstract sockets, and may have the server's user
    /// id where only one id is mapped. Turn it off only where callers run in containers of their own that the kernel
    /// shows nothing of, and functions do not get the machine's network.</remarks>
    public bool RequireOwnUserNamespace { get; set; } = true;

    /// <summary>Gets or sets the certificate, with its private key, that TCP is served with. Null by default: plain
    /// TCP, where <see cref="CertificateFile"/> is null too.</summary>
    public X509Certificate2? Certificate { get; set; }

    /// <summary>Gets or sets the intermediate certificates that are sent with <see cref="Certificate"/>. None by
    /// default.</summary>
    public X509Certificate2Collection CertificateChain { get; set; } = [];

    /// <summary>Gets or sets the path of a PEM file that holds the certificate, in place of <see cref="Certificate"/>,
    /// and those between it and its authority behind it. It is read again for new connections when it has changed, and
    /// the old one is kept as long as the new one cannot be used. Null, the default, for none.</summary>
    public string? CertificateFile { get; set; }

    /// <summary>Gets or sets the path of the PEM file with the key that belongs to <see cref="CertificateFile"/>, which
    /// is read again with it. Null, the default, where that file has the key as well.</summary>
    public string? CertificateKeyFile { get; set; }

    /// <summary>Gets or sets the authorities of which one must have signed the certificate of a caller; no other is
    /// trusted. Callers need no certificate when it is empty, the default.</summary>
    public X509Certificate2Collection ClientCertificateAuthorities { get; set; } = [];

    /// <summary>Gets or sets the path of a PEM file with more of <see cref="ClientCertificateAuthorities"/>, which is
    /// read again for new connections when it has changed. Null, the default, for none.</summary>
    public string? ClientCertificateAuthoritiesFile { get; set; }

    /// <summary>Gets or sets whether to serve callers that prove nothing on an address that other machines can reach:
    /// TCP without TLS, or without client certificates. False by default, which is an error then.</summary>
    public bool AllowUnauthenticatedClients { get; set; }

    /// <summary>Gets or sets the images whose functions are kept prepared (<see cref="ContainerRunner.PrepareAsync"/>),
    /// and how many containers of each wait, from 1 to <see cref="PrepareOptions.MaxCount"/>. Takes a
    /// <see cref="ContainerRunner"/>. None by default.</summary>
    /// <remarks>They serve the runs that ask neither for limits, but those of
    /// <see cref="ContainerRunnerServiceOptions.MaxMemoryBytes"/> and
    /// <see cref="ContainerRunnerServiceOptions.MaxCpus"/>, nor for this machine's network, nor for settings of their container.</remarks>
    public IDictionary<string, int> PreparedImages { get; set; } = new Dictionary<string, int>();

    /// <summary>Gets or sets whether to serve grpc.health.v1.Health. True by default.</summary>
    public bool Health { get; set; } = true;

    /// <summary>Gets or sets whether to serve gRPC's reflection, which tells callers what can be called. False by
    /// default.</summary>
    public bool Reflection { get; set; }

    /// <summary>Gets or sets how long running functions may go on once the server is stopped; then they are killed. At
    /// least 0; 30 seconds by default.</summary>
    public TimeSpan DrainTime { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Gets or sets how many connections are open at once at most; further ones are closed. At least 1; 1,024
    /// by default.</summary>
    public int MaxConnections { get; set; } = 1024;

    /// <summary>Gets or sets where to log. Nowhere by default.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    /// <inheritdoc/>
    public override ContainerRunnerServerOptions Bind(IEnumerable<KeyValuePair<string, string?>> settings)
    {
        OptionBinder.Bind(this, settings);
        return this;
    }

    internal override ContainerRunnerServerOptions CheckedCopy()
    {
        var copy = (ContainerRunnerServerOptions)base.CheckedCopy();
        OptionCheck.NotNull(Logger, nameof(Logger));
        OptionCheck.AtLeast<TimeSpan>(nameof(DrainTime), DrainTime, TimeSpan.Zero);
        OptionCheck.AtLeast<int>(nameof(MaxConnections), MaxConnections, 1);
        copy.AllowedUids = OptionCheck.NotNull(AllowedUids, nameof(AllowedUids)).ToHashSet();
        copy.CertificateChain = [.. OptionCheck.NotNull(CertificateChain, nameof(CertificateChain))];
        copy.ClientCertificateAuthorities = [.. OptionCheck.NotNull(ClientCertificateAuthorities, nameof(ClientCertificateAuthorities))];
        copy.PreparedImages = new Dictionary<string, int>(OptionCheck.NotNull(PreparedImages, nameof(PreparedImages)));
        foreach ((string image, int count) in copy.PreparedImages)
            OptionCheck.Range($"{nameof(PreparedImages)}:{image}", count, 1, PrepareOptions.MaxCount);
        return copy;
    }
}
