using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
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
        var options = new ContainerRunnerServerOptions
        {
            AllowUnauthenticatedClients = told.AllowUnauthenticated,
            RequireOwnUserNamespace = !told.AllowOtherNamespaces,
            AllowLocalImages = told.AllowLocalImages,
            AllowRunnerNetwork = told.AllowRunnerNetwork,
            MaxTimeout = told.MaxTimeout,
            MaxMemory = told.MaxMemory,
            MaxCpu = told.MaxCpu,
            Reflection = told.Reflection,
            Logger = told.Logger,
        };
        if (told.DrainTime is { } drain)
            options.DrainTime = drain;
        options.AllowedUids.UnionWith(told.AllowedUids);
        foreach (string image in told.AllowedImages)
            options.AllowedImages.Add(image);
        foreach ((string image, int count) in told.PreparedImages)
            options.PreparedImages[image] = count;
        ReadCertificates(told, options);
        return options;
    }

    private static void ReadCertificates(ServingOptions told, ContainerRunnerServerOptions options)
    {
        if ((told.TlsCertificate is null) != (told.TlsKey is null))
            throw new ArgumentException("cannot serve with TLS: only one of certificate and key is given. Give both --tls-cert and --tls-key.");
        if (told.TlsCertificate is not null)
        {
            options.Certificate = Read(told.TlsCertificate, path => X509Certificate2.CreateFromPemFile(path, told.TlsKey));

            // The first is the server's own.
            X509Certificate2Collection chain = Read(told.TlsCertificate, ReadAll);
            for (int i = 1; i < chain.Count; i++)
                options.CertificateChain.Add(chain[i]);
        }

        if (told.TlsClientAuthority is not null)
        {
            options.ClientCertificateAuthorities.AddRange(Read(told.TlsClientAuthority, ReadAll));
            if (options.ClientCertificateAuthorities.Count == 0)
                throw new ArgumentException($"cannot use '{told.TlsClientAuthority}' for callers' certificates: found no certificate. Name a PEM file.");
        }
    }

    private static X509Certificate2Collection ReadAll(string path)
    {
        var all = new X509Certificate2Collection();
        all.ImportFromPemFile(path);
        return all;
    }

    private static T Read<T>(string path, Func<string, T> read)
    {
        try
        {
            return read(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ArgumentException($"cannot read certificate '{path}': {e.Message}", e);
        }
    }
}
