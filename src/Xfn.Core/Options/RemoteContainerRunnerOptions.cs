using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Xfn.Core;

/// <summary>How a <see cref="RemoteContainerRunner"/> reaches its servers. The runner checks and copies them when it is made.</summary>
public sealed class RemoteContainerRunnerOptions
{
    /// <summary>The servers. One of <c>unix:PATH</c>, <c>unix-abstract:NAME</c>, <c>http://HOST:PORT</c>, <c>https://HOST:PORT</c>, or <c>dns:///HOST:PORT</c> for all the addresses of a name,
    /// asked for anew every half minute; or several of <c>http://</c> or of <c>https://</c>. Runs go to the servers of several addresses in turn.</summary>
    /// <remarks>Over <c>http://</c> and <c>dns:///</c> anybody on the way can read the requests, the credentials for registries among them. Use it on a network that is your own.</remarks>
    public IReadOnlyList<string> Addresses { get; set => field = value ?? throw new ArgumentNullException(nameof(Addresses)); } = [];

    /// <summary>Whether the servers of a <c>dns:///</c> address speak TLS; the name is then the one that their certificates must have. False by default.</summary>
    public bool UseTls { get; set; }

    /// <summary>Certificate authorities to trust besides the system's.</summary>
    public X509Certificate2Collection CertificateAuthorities { get; set => field = value ?? throw new ArgumentNullException(nameof(CertificateAuthorities)); } = [];

    /// <summary>Certificates, with their keys, that tell a server who calls.</summary>
    public X509Certificate2Collection ClientCertificates { get; set => field = value ?? throw new ArgumentNullException(nameof(ClientCertificates)); } = [];

    /// <summary>How many bytes of input and of output a run may have; 1 to 2,000,000,000, and no more than the server allows. <see cref="ContainerRunner.MaxStdioBytes"/> by default.</summary>
    public long MaxStdioBytes { get; set; } = ContainerRunner.MaxStdioBytes;

    /// <summary>How long a run may take besides its timeout: waiting for a place, pulling the image, and the way there and back. More than 0; 5 minutes by default.</summary>
    public TimeSpan PullAllowance { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How long a connection may take to be made. More than 0; 5 seconds by default.</summary>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>How often in all a run is offered that no server has taken: because none was there, or, where there are several, because one was busy or failed before it started the function.
    /// Waits of 50 ms and twice as long each time, up to a second, lie in between. Where there are several servers and none was reached, it is offered every 50 ms instead for 300 ms times this number, since
    /// for some seconds one that has gone is taken for one that is there: none that answers is so told within 2 seconds, or <see cref="ConnectTimeout"/> where none refuses either. At least 1, which is never
    /// more; 5 by default.</summary>
    public int MaxAttempts { get; set; } = 5;

    /// <summary>Whether a run whose server was lost on the way is tried again as well. Its function may have been started, and so may run twice: harmless for one on an isolated network, which can do nothing but
    /// answer. False by default: such a run fails with <see cref="ServerUnavailableException.MayHaveStarted"/>.</summary>
    public bool RetryLostRuns { get; set; }

    /// <summary>Where to log. Nowhere by default.</summary>
    public ILogger Logger { get; set => field = value ?? throw new ArgumentNullException(nameof(Logger)); } = NullLogger.Instance;

    /// <summary>The clock for deadlines and waits.</summary>
    public TimeProvider TimeProvider { get; set => field = value ?? throw new ArgumentNullException(nameof(TimeProvider)); } = TimeProvider.System;
}
