using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Registry;

/// <summary>Which certificates are trusted: what the system trusts, and what the options add.</summary>
internal sealed class CertificateTrust
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private readonly X509Certificate2Collection _added = [];
    private readonly IReadOnlyList<(X509Certificate2 Certificate, X509Certificate2Collection Chain)> _clients = [];

    public CertificateTrust(X509Certificate2Collection added) => _added.AddRange(added);

    public CertificateTrust(CertificateTrust common, HostCertificates own)
        : this([.. common._added, .. own.Authorities]) => _clients = own.Clients;

    /// <exception cref="XfnException">The file that CA_BUNDLE_PATH names holds no certificates.</exception>
    public CertificateTrust(RegistryOptions options)
        : this(options.CertificateAuthorities)
    {
        if (options.GetEnvironmentVariable("CA_BUNDLE_PATH") is { Length: > 0 } path)
        {
            _added.AddRange(PemFile.Certificates(path, (found, cause) => new XfnException(
                RunStage.Validate, $"cannot read certificate authorities '{path}', named by CA_BUNDLE_PATH: {found}. Name a readable PEM file or unset the variable.", cause)));
        }
    }

    /// <summary>How the framework checks certificates: it asks nobody. A certificate may name URLs for issuers that did
    /// not come, and whoever shows it would choose whom this machine talks to. An authority of one's own seldom has a
    /// service that says what it revoked; to end trust, use another authority.</summary>
    public static X509ChainPolicy NoDownloads => new() { DisableCertificateDownloads = true, RevocationMode = X509RevocationMode.NoCheck };

    /// <summary>The TLS options of a client.</summary>
    /// <param name="identify">Whether the other side may be told who this machine is.</param>
    public SslClientAuthenticationOptions ClientOptions(bool identify = true)
    {
        var options = new SslClientAuthenticationOptions
        {
            CertificateChainPolicy = NoDownloads,
            RemoteCertificateValidationCallback = Validate,
        };
        if (identify && _clients is [var only])
            options.ClientCertificateContext = SslStreamCertificateContext.Create(only.Certificate, only.Chain, offline: true);
        else if (identify && _clients.Count > 1)
            options.ClientCertificates = [.. _clients.Select(c => c.Certificate)];
        return options;
    }

    private bool Validate(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
            return true;

        // Only an unknown issuer is what an added authority mends; never a wrong name.
        if (errors == SslPolicyErrors.RemoteCertificateChainErrors && _added.Count > 0 && certificate is X509Certificate2 server && IsTrusted(server, chain, _added, ServerAuthentication, isAnyRoot: true))
            return true;

        string found = errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable) ? "it sent no certificate"
            : errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) ? "its certificate is for another host"
            : $"its certificate is not trusted ({string.Join(", ", chain?.ChainStatus.Select(s => s.Status) ?? [])})";
        throw new UntrustedCertificateException(found);
    }

    /// <summary>Whether what the other side shows was issued by some authorities, and no others, for a usage. With
    /// <paramref name="isAnyRoot"/> those count too that are below a root, or are what is shown itself: so Go has it,
    /// and with it docker and podman. All else about the chain must be right.</summary>
    public static bool IsTrusted(X509Certificate2 shown, X509Chain? sent, X509Certificate2Collection authorities, string usage, bool isAnyRoot)
    {
        using var chain = new X509Chain { ChainPolicy = NoDownloads };
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.VerificationFlags = isAnyRoot ? X509VerificationFlags.AllowUnknownCertificateAuthority : X509VerificationFlags.NoFlag;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(usage));
        foreach (X509ChainElement element in sent?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
            chain.ChainPolicy.ExtraStore.Add(element.Certificate);
        chain.ChainPolicy.ExtraStore.AddRange(sent?.ChainPolicy.ExtraStore ?? []);
        return chain.Build(shown) && chain.ChainElements.Any(element => authorities.Any(a => a.RawDataMemory.Span.SequenceEqual(element.Certificate.RawDataMemory.Span)));
    }
}

/// <summary>The server is one that speaks TLS, but not one that we trust.</summary>
internal sealed class UntrustedCertificateException(string found) : AuthenticationException(found);
