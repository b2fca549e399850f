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
    private readonly IReadOnlyList<HostCertificates.Client> _clients = [];

    public CertificateTrust(X509Certificate2Collection added) => _added.AddRange(added);

    /// <summary>Adds what one registry's own directory holds.</summary>
    public CertificateTrust(CertificateTrust common, HostCertificates own)
        : this([.. common._added, .. own.Authorities]) => _clients = own.Clients;

    /// <exception cref="XfnException">The file that CA_BUNDLE_PATH names holds no certificates.</exception>
    public CertificateTrust(RegistryOptions options)
        : this(options.CertificateAuthorities)
    {
        if (options.GetEnvironmentVariable("CA_BUNDLE_PATH") is { Length: > 0 } path)
            Load(path);
    }

    /// <summary>The TLS options of a client.</summary>
    /// <param name="identify">Whether the other side may be told who this machine is.</param>
    public SslClientAuthenticationOptions ClientOptions(bool identify = true)
    {
        var options = new SslClientAuthenticationOptions
        {
            // A server's certificate may name URLs for the issuers it did not send. Nobody else's client asks them, and
            // whoever runs a server would choose whom this machine talks to.
            CertificateChainPolicy = new X509ChainPolicy { DisableCertificateDownloads = true, RevocationMode = X509RevocationMode.NoCheck },
            RemoteCertificateValidationCallback = Validate,
        };
        if (identify && _clients is [var only])
            options.ClientCertificateContext = SslStreamCertificateContext.Create(only.Certificate, only.Chain, offline: true);
        else if (identify && _clients.Count > 1)
            options.ClientCertificates = [.. _clients.Select(c => c.Certificate)];
        return options;
    }

    private void Load(string path)
    {
        try
        {
            _added.ImportFromPemFile(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new XfnException(
                RunStage.Validate, $"cannot read certificate authorities '{path}', named by CA_BUNDLE_PATH: {e.Message.TrimEnd('.')}. Name a readable PEM file or unset the variable.", e);
        }

        if (_added.Count == 0)
            throw new XfnException(RunStage.Validate, $"cannot read certificate authorities '{path}', named by CA_BUNDLE_PATH: found no certificate. Name a PEM file or unset the variable.");
    }

    private bool Validate(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
            return true;

        // Only an unknown issuer is what an added authority mends; never a wrong name.
        if (errors == SslPolicyErrors.RemoteCertificateChainErrors && _added.Count > 0 && certificate is X509Certificate2 server && IsIssuedByAdded(server, chain))
            return true;

        string found = errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable) ? "it sent no certificate"
            : errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) ? "its certificate is for another host"
            : $"its certificate is not trusted ({string.Join(", ", chain?.ChainStatus.Select(s => s.Status) ?? [])})";
        throw new UntrustedCertificateException(found);
    }

    private bool IsIssuedByAdded(X509Certificate2 server, X509Chain? sent)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_added);
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ServerAuthentication));
        foreach (X509ChainElement element in sent?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
            chain.ChainPolicy.ExtraStore.Add(element.Certificate);
        chain.ChainPolicy.ExtraStore.AddRange(sent?.ChainPolicy.ExtraStore ?? []);

        // What was added is trusted whatever it is: an authority below a root, or the server's own certificate. So Go has it,
        // and with it docker and podman. All else about the chain must be right.
        chain.ChainPolicy.VerificationFlags = X509VerificationFlags.AllowUnknownCertificateAuthority;
        return chain.Build(server) && chain.ChainElements.Any(element => _added.Any(added => added.RawDataMemory.Span.SequenceEqual(element.Certificate.RawDataMemory.Span)));
    }
}

/// <summary>The server is one that speaks TLS, but not one that we trust.</summary>
internal sealed class UntrustedCertificateException(string found) : AuthenticationException(found);
