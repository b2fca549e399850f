using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Xfn.Core.Registry;

namespace Xfn.Core.Server;

/// <summary>Certificates and authorities for TCP. Each connection gets those that the files hold then.</summary>
internal sealed class TlsSetup : IDisposable
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly ContainerRunnerServerOptions _options;
    private readonly Lock _lock = new();
    private readonly Queue<(Setup Setup, long Since)> _retired = new();
    private Texts _read;
    private Setup _current;

    private TlsSetup(ContainerRunnerServerOptions options)
    {
        _options = options;
        _read = Read(options);
        _current = Make(_read, options);
    }

    /// <summary>How long a handshake may take: so long the certificates that it began with are needed.</summary>
    public static TimeSpan HandshakeTimeout { get; } = TimeSpan.FromSeconds(10);

    /// <summary>How long replaced certificates are kept.</summary>
    public TimeSpan RetiredTime { get; set; } = HandshakeTimeout * 2;

    /// <summary>Whether callers have to prove who they are.</summary>
    public bool AsksForCertificates => _current.Options.ClientCertificateRequired;

    /// <summary>The setup that options ask for; null for plain TCP.</summary>
    /// <exception cref="ArgumentException">They do not go together, or a file cannot be used.</exception>
    public static TlsSetup? From(ContainerRunnerServerOptions options)
    {
        if (options.Certificate is not null && options.CertificateFile is not null)
            throw new ArgumentException("cannot serve with two certificates. Set either Certificate or CertificateFile.", nameof(options));
        if (options.CertificateFile is null && options.CertificateKeyFile is not null)
            throw new ArgumentException("cannot use a private key without its certificate. Set CertificateFile.", nameof(options));
        if (options.Certificate is { HasPrivateKey: false })
            throw new ArgumentException("cannot serve with a certificate whose private key is missing. Load both (X509Certificate2.CreateFromPemFile).", nameof(options));
        if (options.Certificate is not null || options.CertificateFile is not null)
            return new TlsSetup(options);
        return options.ClientCertificateAuthorities.Count == 0 && options.ClientCertificateAuthoritiesFile is null
            ? null
            : throw new ArgumentException("cannot ask callers for certificates without TLS. Set Certificate or CertificateFile.", nameof(options));
    }

    /// <summary>For one more connection.</summary>
    public SslServerAuthenticationOptions Current()
    {
        if (_options.CertificateFile is null && _options.ClientCertificateAuthoritiesFile is null)
            return _current.Options;
        lock (_lock)
        {
            while (_retired.TryPeek(out (Setup Setup, long Since) first) && System.Diagnostics.Stopwatch.GetElapsedTime(first.Since) >= RetiredTime)
                _retired.Dequeue().Setup.Dispose();
            try
            {
                // Compares bytes, not times: a Kubernetes secret changes behind a link, and a handshake costs more.
                Texts now = Read(_options);
                if (now == _read)
                    return _current.Options;

                // Remembered before it is used: what is wrong is told once, until it changes again.
                _read = now;
                Setup made = Make(now, _options);
                _retired.Enqueue((_current, System.Diagnostics.Stopwatch.GetTimestamp()));
                _current = made;
                ServerLog.CertificatesChanged(_options.Logger);
            }
            catch (ArgumentException ex)
            {
                // Half of a change may be there: the certificate and not yet its key.
                ServerLog.CertificatesNotChanged(_options.Logger, ex.Message);
            }

            return _current.Options;
        }
    }

    public void Dispose()
    {
        foreach ((Setup setup, _) in _retired)
            setup.Dispose();
        _current.Dispose();
    }

    private static Texts Read(ContainerRunnerServerOptions options) => new(
        ReadText(options.CertificateFile), ReadText(options.CertificateKeyFile ?? options.CertificateFile), ReadText(options.ClientCertificateAuthoritiesFile));

    private static string? ReadText(string? path) => path is null ? null : PemFile.Use(() => File.ReadAllText(path), Unusable(path));

    private static Setup Make(Texts texts, ContainerRunnerServerOptions options)
    {
        var owned = new List<X509Certificate2>();
        try
        {
            return Make(texts, options, owned);
        }
        catch
        {
            owned.ForEach(c => c.Dispose());
            throw;
        }
    }

    private static Setup Make(Texts texts, ContainerRunnerServerOptions options, List<X509Certificate2> owned)
    {
        X509Certificate2? read = options.Certificate is null ? PemFile.Use(() => X509Certificate2.CreateFromPem(texts.Certificate, texts.Key), Unusable(options.CertificateFile!)) : null;
        if (read is not null)
            owned.Add(read);
        X509Certificate2 certificate = options.Certificate ?? read!;
        X509Certificate2Collection chain = [.. options.CertificateChain];
        if (texts.Certificate is { } own)
        {
            X509Certificate2Collection all = PemFile.Parse(own, Unusable(options.CertificateFile!));
            owned.AddRange(all);

            // The first is the server's own.
            chain.AddRange(all.Skip(1).ToArray());
        }

        X509Certificate2Collection authorities = [.. options.ClientCertificateAuthorities];
        if (texts.Authorities is { } pem)
        {
            X509Certificate2Collection trusted = PemFile.Parse(pem, Unusable(options.ClientCertificateAuthoritiesFile!));
            owned.AddRange(trusted);
            authorities.AddRange(trusted);
        }

        var tls = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(certificate, chain, offline: true),
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            ClientCertificateRequired = authorities.Count > 0,
            CertificateChainPolicy = CertificateTrust.NoDownloads,
            RemoteCertificateValidationCallback = authorities.Count == 0 ? null : (_, sent, between, _) => sent is X509Certificate2 caller && CertificateTrust.IsTrusted(caller, between, authorities, ClientAuthentication, isAnyRoot: false),
        };
        return new Setup(tls, owned);
    }

    private static Func<string, Exception?, Exception> Unusable(string path) =>
        (found, cause) => new ArgumentException($"cannot use certificate file '{path}': {found}. Name a readable PEM file, and the key that belongs to it.", cause);

    /// <summary>What connections are made with, and the certificates that were read for it.</summary>
    private sealed record Setup(SslServerAuthenticationOptions Options, List<X509Certificate2> Owned) : IDisposable
    {
        public void Dispose() => Owned.ForEach(c => c.Dispose());
    }

    /// <summary>What files hold; null where there is none.</summary>
    private sealed record Texts(string? Certificate, string? Key, string? Authorities);
}
