using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Xfn.Core;

/// <summary>How a runner is served, and to whom.</summary>
public sealed class ContainerRunnerServerOptions : ContainerRunnerServiceOptions
{
    /// <summary>The users, besides the server's own and root, whose processes may call through a Unix socket. None by default.</summary>
    public ISet<uint> AllowedUids { get; } = new HashSet<uint>();

    /// <summary>Whether processes that call through a Unix socket must be in the server's own user namespace: a function that shares the machine's network can reach abstract sockets, and
    /// may have the server's user id where only one id is mapped. A process whose namespace cannot be read is refused. True by default. Turn it off only where callers
    /// run in containers of their own that the kernel shows nothing of, and functions do not get the machine's network.</summary>
    public bool RequireOwnUserNamespace { get; set; } = true;

    /// <summary>The certificate, with its private key, that TCP is served with. Plain TCP when neither it nor <see cref="CertificateFile"/> is set, the default.</summary>
    public X509Certificate2? Certificate { get; set; }

    /// <summary>The intermediate certificates that are sent with <see cref="Certificate"/>. None by default.</summary>
    public X509Certificate2Collection CertificateChain { get; } = [];

    /// <summary>A PEM file to take the certificate from instead of <see cref="Certificate"/>, and those between it and its authority behind it. It is read again for new connections when it has changed,
    /// and the old one is kept as long as the new one cannot be used. None by default.</summary>
    public string? CertificateFile { get; set; }

    /// <summary>The PEM file of the key that belongs to <see cref="CertificateFile"/>, which is read again with it; null when that holds the key as well.</summary>
    public string? CertificateKeyFile { get; set; }

    /// <summary>Who must have signed the certificates of callers; these and no other are trusted. Callers need no certificate when empty, the default.</summary>
    public X509Certificate2Collection ClientCertificateAuthorities { get; } = [];

    /// <summary>A PEM file with more of <see cref="ClientCertificateAuthorities"/>, which is read again for new connections when it has changed. None by default.</summary>
    public string? ClientCertificateAuthoritiesFile { get; set; }

    /// <summary>Whether to serve callers that prove nothing on an address that other machines can reach: TCP without TLS, or without client certificates. False by default, which is
    /// an error then.</summary>
    public bool AllowUnauthenticatedClients { get; set; }

    /// <summary>Images whose functions are kept prepared (<see cref="ContainerRunner.PrepareAsync"/>), and how many containers of each wait, from 1 to <see cref="PrepareOptions.MaxCount"/>.
    /// They serve the runs that ask neither for limits, but those of <see cref="ContainerRunnerServiceOptions.MaxMemory"/> and <see cref="ContainerRunnerServiceOptions.MaxCpu"/>, nor for
    /// this machine's network. Takes a <see cref="ContainerRunner"/>. None by default.</summary>
    public IDictionary<string, int> PreparedImages { get; } = new Dictionary<string, int>();

    /// <summary>Whether to serve grpc.health.v1.Health. True by default.</summary>
    public bool Health { get; set; } = true;

    /// <summary>Whether to serve gRPC's reflection, which tells callers what can be called. False by default.</summary>
    public bool Reflection { get; set; }

    /// <summary>How long running functions may go on once the server is stopped; then they are killed. 30 seconds by default.</summary>
    public TimeSpan DrainTime { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How many connections are open at once at most; further ones are closed. 1,024 by default.</summary>
    public int MaxConnections { get; set; } = 1024;

    /// <summary>Where to log. Nowhere by default.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;
}
