using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Xfn.Core.Composition.Functions;

/// <summary>An authority of one client's own, and what it signed: a certificate for its function, and one for itself. All
/// are made for the process, and kept nowhere.</summary>
internal sealed class FunctionCertificates : IDisposable
{
    public const string Directory = "/tls/server";

    private const string ServerName = "localhost";
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1", ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly X509Certificate2 _authority;
    private readonly X509Certificate2 _client;
    private readonly DateTimeOffset _from = DateTimeOffset.UtcNow.AddDays(-1);
    private readonly DateTimeOffset _to = DateTimeOffset.UtcNow.AddYears(10);

    public FunctionCertificates()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var authority = new CertificateRequest("CN=xfn", key, HashAlgorithmName.SHA256);
        authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: true, pathLengthConstraint: 0, critical: true));
        authority.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, critical: true));
        authority.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(authority.PublicKey, critical: false));
        _authority = authority.CreateSelfSigned(_from, _to);
        _client = Sign("client", ClientAuthentication);
        using X509Certificate2 server = Sign(ServerName, ServerAuthentication);
        using ECDsa serverKey = server.GetECDsaPrivateKey()!;
        Files =
        [
            Mount.File($"{Directory}/tls.crt", Encoding.ASCII.GetBytes(server.ExportCertificatePem() + "\n")),
            Mount.File($"{Directory}/tls.key", Encoding.ASCII.GetBytes(serverKey.ExportPkcs8PrivateKeyPem() + "\n"), UnixFileMode.UserRead),
            Mount.File($"{Directory}/ca.crt", Encoding.ASCII.GetBytes(_authority.ExportCertificatePem() + "\n")),
        ];
    }

    /// <summary>What the function finds.</summary>
    public IReadOnlyList<Mount> Files { get; }

    /// <summary>What the client shows, and whom it trusts.</summary>
    public SslClientAuthenticationOptions ClientOptions() => new()
    {
        TargetHost = ServerName,
        ClientCertificateContext = SslStreamCertificateContext.Create(_client, additionalCertificates: null, offline: true),
        CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            CustomTrustStore = { _authority },
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        },
    };

    public void Dispose()
    {
        _authority.Dispose();
        _client.Dispose();
    }

    private X509Certificate2 Sign(string name, string usage)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], critical: false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_authority, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        using X509Certificate2 signed = request.Create(_authority, _from, _to, RandomNumberGenerator.GetBytes(16));
        return signed.CopyWithPrivateKey(key);
    }
}
