using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

internal sealed class TlsTests : ServerFixture
{
    [TestCase("ours", "OK")]
    [TestCase("somebody else's", "UNAVAILABLE")]
    [TestCase("a server's", "UNAVAILABLE")]
    [TestCase("none", "UNAVAILABLE")]
    [CancelAfter(60_000)]
    public async Task Only_callers_with_a_certificate_of_the_authority_are_served(string whose, string code, CancellationToken token)
    {
        using X509Certificate2 authority = Authority("Ours"), other = Authority("Ours"), served = Signed(authority, "1.3.6.1.5.5.7.3.1");
        using X509Certificate2 caller = whose switch
        {
            "ours" => Signed(authority, "1.3.6.1.5.5.7.3.2"),
            "a server's" => Signed(authority, "1.3.6.1.5.5.7.3.1"),
            _ => Signed(other, "1.3.6.1.5.5.7.3.2"),
        };
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o =>
        {
            o.Certificate = served;
            o.ClientCertificateAuthorities.Add(authority);
        });
        JsonObject call = Call("x", [1, 2], deadline: 10);
        var tls = new JsonObject { ["ca"] = Pem("ca.pem", authority.ExportCertificatePem()) };
        if (whose != "none")
            (tls["certificate"], tls["key"]) = (Pem("c.pem", caller.ExportCertificatePem()), Pem("k.pem", caller.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem()));
        call["tls"] = tls;

        ForeignAnswer answer = await ForeignClient.CallAsync("localhost:" + server.Address.Split(':')[1], call);
        Assert.That(answer.Code == "DEADLINE_EXCEEDED" && code != "OK" ? code : answer.Code, Is.EqualTo(code), answer.Details);
    }

    [Test]
    public void Options_that_do_not_go_together_are_refused()
    {
        using X509Certificate2 authority = Authority("Ours"), served = Signed(authority, "1.3.6.1.5.5.7.3.1"), withoutKey = X509CertificateLoader.LoadCertificate(served.RawData);
        Assert.Multiple(() =>
        {
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o => o.Certificate = withoutKey), Throws.ArgumentException.With.Message.Contains("private key"));
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o => o.ClientCertificateAuthorities.Add(authority)), Throws.ArgumentException);
            Assert.That(() => ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.Certificate = served), Throws.ArgumentException);
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", ":0", o => o.Certificate = served), Throws.InvalidOperationException);
        });
    }

    private string Pem(string name, string text)
    {
        string path = Path.Combine(Scratch, name);
        File.WriteAllText(path, text);
        return path;
    }

    private static X509Certificate2 Authority(string name)
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=" + name, key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
    }

    private static X509Certificate2 Signed(X509Certificate2 authority, string purpose)
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        using X509Certificate2 certificate = request.Create(authority, DateTimeOffset.UtcNow.AddMinutes(-30), DateTimeOffset.UtcNow.AddMinutes(30), [1, 2, 3, 4]);
        return certificate.CopyWithPrivateKey(key);
    }
}
