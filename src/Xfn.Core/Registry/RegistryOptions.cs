using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Xfn.Core;

/// <summary>How registries are reached. Without any of it: HTTPS, or HTTP on this machine's loopback, with the system's trust and the environment's proxies.</summary>
public sealed record RegistryOptions
{
    /// <summary>Told of retries, mirrors that fail and credentials that are looked up; never of a secret.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;

    /// <summary>The clock of retries, timeouts and token lifetimes.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Replaces the connections; not disposed. It must not follow redirects. The certificate options here, and the check
    /// of the addresses that redirects lead to, are then its own matter.</summary>
    public HttpMessageHandler? HttpHandler { get; init; }

    /// <summary>How long a request may wait for its response's headers, and a download be without progress, before it is given up. There is no limit on
    /// a whole download. 60 seconds by default.</summary>
    public TimeSpan NoProgressTimeout { get; init; } = TimeSpan.FromSeconds(60);
}
