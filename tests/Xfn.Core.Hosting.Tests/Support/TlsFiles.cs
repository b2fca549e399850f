using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>An authority's certificate, and one with its key that everybody here shows, as files.</summary>
internal sealed class TlsFiles
{
    /// <summary>The name in the certificate.</summary>
    public const string Name = "localhost";

    public TlsFiles(string directory)
    {
        using var certificates = new TestCertificates();
        Authority = Path.Combine(directory, "ca.pem");
        Certificate = Path.Combine(directory, "own.pem");
        Client = Path.Combine(directory, "client.pem");
        File.WriteAllText(Authority, certificates.Authority.ExportCertificatePem());
        File.WriteAllText(Certificate, Pem(certificates.Server(Name)));
        File.WriteAllText(Client, Pem(certificates.Client(Name)));
    }

    public string Authority { get; }

    public string Certificate { get; }

    public string Client { get; }

    public void Apply(RemoteContainerRunnerOptions options) => (options.CertificateAuthoritiesFile, options.ClientCertificateFile) = (Authority, Client);

    private static string Pem(X509Certificate2 certificate) => $"{certificate.ExportCertificatePem()}\n{certificate.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem()}\n";
}
