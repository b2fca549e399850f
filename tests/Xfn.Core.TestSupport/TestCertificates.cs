using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.TestSupport;

/// <summary>A certificate authority that nobody knows, and what it issues.</summary>
internal sealed class TestCertificates : IDisposable
{
    private readonly RSA _key = TestKeys.Next();
    private readonly List<X509Certificate2> _issued = [];

    /// <summary>Makes an authority.</summary>
    /// <param name="above">The one that issues its certificate; itself when null.</param>
    public TestCertificates(TestCertificates? above = null)
    {
        var request = new CertificateRequest($"CN=Test Authority {Guid.NewGuid()}", _key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        Authority = above is null
            ? request.CreateSelfSigned(DateTimeOffset.UtcNow.AddYears(-2), DateTimeOffset.UtcNow.AddYears(1))
            : request.Create(above.Authority, DateTimeOffset.UtcNow.AddYears(-2), DateTimeOffset.UtcNow.AddDays(1), RandomNumberGenerator.GetBytes(8));
    }

    public X509Certificate2 Authority { get; }

    /// <param name="name">The host's name.</param>
    /// <param name="expired">Whether it has expired.</param>
    /// <param name="issuerUrl">Where it says that its issuer's certificate is; null for nothing.</param>
    public X509Certificate2 Server(string name, bool expired = false, string? issuerUrl = null) => Issue(name, "1.3.6.1.5.5.7.3.1", expired, issuerUrl);

    public X509Certificate2 Client(string name) => Issue(name, "1.3.6.1.5.5.7.3.2", false);

    public void Dispose()
    {
        _issued.ForEach(c => c.Dispose());
        Authority.Dispose();
    }

    private X509Certificate2 Issue(string name, string usage, bool expired, string? issuerUrl = null)
    {
        RSA key = TestKeys.Next();
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        if (IPAddress.TryParse(name, out IPAddress? address))
            names.AddIpAddress(address);
        else
            names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        if (issuerUrl is not null)
            request.CertificateExtensions.Add(new X509AuthorityInformationAccessExtension(null, [issuerUrl]));
        using X509Certificate2 issued = request.Create(
            Authority.SubjectName, X509SignatureGenerator.CreateForRSA(_key, RSASignaturePadding.Pkcs1), DateTimeOffset.UtcNow.AddYears(-1), DateTimeOffset.UtcNow.AddDays(expired ? -1 : 1), RandomNumberGenerator.GetBytes(8));
        X509Certificate2 certificate = issued.CopyWithPrivateKey(key);
        _issued.Add(certificate);
        return certificate;
    }
}
