using Microsoft.Extensions.Logging;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>What <c>xfn start</c> was told.</summary>
internal sealed record ServingOptions
{
    public required ContainerRunnerOptions Runner { get; init; }

    public required string Network { get; init; }

    public required string Address { get; init; }

    public string? TlsCertificate { get; init; }

    public string? TlsKey { get; init; }

    public string? TlsClientAuthority { get; init; }

    public bool AllowUnauthenticated { get; init; }

    public uint[] AllowedUids { get; init; } = [];

    public bool AllowOtherNamespaces { get; init; }

    public string[] AllowedImages { get; init; } = [];

    public bool AllowLocalImages { get; init; }

    public bool AllowRunnerNetwork { get; init; }

    public TimeSpan? MaxTimeout { get; init; }

    public string? MaxMemory { get; init; }

    public string? MaxCpu { get; init; }

    public bool UseDefaultLimits { get; init; }

    public long? MaxPendingInput { get; init; }

    public TimeSpan? DrainTime { get; init; }

    public KeyValuePair<string, int>[] PreparedImages { get; init; } = [];

    public bool Reflection { get; init; }

    public required ILogger Logger { get; init; }
}

/// <summary>The server of <c>xfn start</c>.</summary>
internal static class Serving
{
    /// <summary>Serves until it is cancelled, and then lets what runs end.</summary>
    public static async Task RunAsync(ServingOptions told, CancellationToken cancellationToken)
    {
        ContainerRunnerServerOptions options = Options(told);
        await using var runner = new ContainerRunner(told.Runner);
        await using ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(runner, told.Network, told.Address, options, cancellationToken);
        await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await server.StopAsync(CancellationToken.None);
    }

    private static ContainerRunnerServerOptions Options(ServingOptions told)
    {
        if ((told.TlsCertificate is null) != (told.TlsKey is null))
            throw new ArgumentException("cannot serve with TLS: only one of certificate and key is given. Give both --tls-cert and --tls-key.");
        var options = new ContainerRunnerServerOptions
        {
            AllowUnauthenticatedClients = told.AllowUnauthenticated,
            RequireOwnUserNamespace = !told.AllowOtherNamespaces,
            AllowLocalImages = told.AllowLocalImages,
            AllowRunnerNetwork = told.AllowRunnerNetwork,
            MaxTimeout = told.MaxTimeout,
            MaxMemory = told.MaxMemory,
            MaxCpu = told.MaxCpu,
            UseDefaultLimits = told.UseDefaultLimits,
            Reflection = told.Reflection,
            Logger = told.Logger,
            CertificateFile = told.TlsCertificate,
            CertificateKeyFile = told.TlsKey,
            ClientCertificateAuthoritiesFile = told.TlsClientAuthority,
        };
        if (told.DrainTime is { } drain)
            options.DrainTime = drain;
        options.MaxPendingInputBytes = told.MaxPendingInput ?? options.MaxPendingInputBytes;
        options.AllowedUids.UnionWith(told.AllowedUids);
        foreach (string image in told.AllowedImages)
            options.AllowedImages.Add(image);
        foreach ((string image, int count) in told.PreparedImages)
            options.PreparedImages[image] = count;
        return options;
    }
}
