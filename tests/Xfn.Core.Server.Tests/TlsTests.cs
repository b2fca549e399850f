using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

internal sealed class TlsTests : ServerFixture
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1", ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    [TestCase("ours", "OK")]
    [TestCase("somebody else's", "UNAVAILABLE")]
    [TestCase("a server's", "UNAVAILABLE")]
    [TestCase("none", "UNAVAILABLE")]
    [CancelAfter(60_000)]
    public async Task Only_callers_with_a_certificate_of_the_authority_are_served(string whose, string code, CancellationToken token)
    {
        using X509Certificate2 authority = Authority("Ours"), other = Authority("Ours"), served = Signed(authority, ServerAuthentication);
        using X509Certificate2 caller = whose switch
        {
            "ours" => Signed(authority, ClientAuthentication),
            "a server's" => Signed(authority, ServerAuthentication),
            _ => Signed(other, ClientAuthentication),
        };
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o =>
        {
            o.Certificate = served;
            o.ClientCertificateAuthorities.Add(authority);
        });
        JsonObject call = Call("x", [1, 2], deadline: code == "OK" ? 50 : 10);
        var tls = new JsonObject { ["ca"] = Pem("ca.pem", authority.ExportCertificatePem()) };
        if (whose != "none")
            (tls["certificate"], tls["key"]) = (Pem("c.pem", caller.ExportCertificatePem()), Pem("k.pem", caller.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem()));
        call["tls"] = tls;

        ForeignAnswer answer = await ForeignClient.CallAsync("localhost:" + server.Address.Split(':')[1], call, token);
        Assert.That(answer.Code == "DEADLINE_EXCEEDED" && code != "OK" ? code : answer.Code, Is.EqualTo(code), answer.Details);
    }

    [Test]
    public void Certificates_that_were_replaced_are_let_go_of_when_no_handshake_needs_them()
    {
        using X509Certificate2 authority = Authority("Ours"), first = Signed(authority, ServerAuthentication), second = Signed(authority, ServerAuthentication);
        string path = Path.Combine(Scratch, "both.pem");
        Write(first);
        using TlsSetup setup = TlsSetup.From(new ContainerRunnerServerOptions { CertificateFile = path })!;
        X509Certificate2 old = setup.Current().ServerCertificateContext!.TargetCertificate;
        Write(second);
        setup.Current();
        Assert.That(old.Handle, Is.Not.EqualTo(IntPtr.Zero), "a handshake may have begun with it");
        setup.RetiredTime = TimeSpan.Zero;
        X509Certificate2 served = setup.Current().ServerCertificateContext!.TargetCertificate;
        Assert.That(old.Handle, Is.EqualTo(IntPtr.Zero));
        Assert.That(served.Thumbprint, Is.EqualTo(second.Thumbprint));

        void Write(X509Certificate2 certificate) =>
            File.WriteAllText(path, certificate.ExportCertificatePem() + "\n" + certificate.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem());
    }

    [Test, CancelAfter(120_000)]
    public async Task Certificates_are_renewed_without_a_restart_and_kept_while_the_new_ones_cannot_be_used(CancellationToken token)
    {
        using X509Certificate2 authority = Authority("Ours"), other = Authority("Another");
        using X509Certificate2 first = Signed(authority, ServerAuthentication), second = Signed(other, ServerAuthentication), caller = Signed(authority, ClientAuthentication), otherCaller = Signed(other, ClientAuthentication);

        // As a Kubernetes secret has them: files behind a link to a directory, which is replaced.
        string secret = Path.Combine(Scratch, "secret");
        Renew("1", first, authority);
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o =>
            (o.CertificateFile, o.CertificateKeyFile, o.ClientCertificateAuthoritiesFile) = (secret + "/tls.crt", secret + "/tls.key", secret + "/ca.crt"));
        Assert.That((await CallAsync(authority, caller), await ServedAsync(server, token)), Is.EqualTo(("OK", first.Thumbprint)));

        Renew("2", second, other);
        Assert.That((await CallAsync(other, otherCaller), await ServedAsync(server, token)), Is.EqualTo(("OK", second.Thumbprint)));
        Assert.That(await CallAsync(other, caller, deadline: 10), Is.Not.EqualTo("OK"), "whose authority is not there any more");

        // Half of a change, and what is no certificate.
        foreach (string wrong in new[] { first.ExportCertificatePem(), "nonsense" })
        {
            await File.WriteAllTextAsync(secret + "/tls.crt", wrong, token);
            Assert.That(await ServedAsync(server, token), Is.EqualTo(second.Thumbprint));
        }

        File.Delete(secret + "/ca.crt");
        Assert.That(await CallAsync(other, otherCaller), Is.EqualTo("OK"));
        Renew("3", first, authority);
        Assert.That((await CallAsync(authority, caller), await ServedAsync(server, token)), Is.EqualTo(("OK", first.Thumbprint)));

        void Renew(string version, X509Certificate2 certificate, X509Certificate2 callers)
        {
            string directory = Directory.CreateDirectory(Path.Combine(Scratch, version)).FullName;
            File.WriteAllText(directory + "/tls.crt", certificate.ExportCertificatePem());
            File.WriteAllText(directory + "/tls.key", certificate.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem());
            File.WriteAllText(directory + "/ca.crt", callers.ExportCertificatePem());
            File.Delete(secret);
            File.CreateSymbolicLink(secret, version);
        }

        async Task<string> CallAsync(X509Certificate2 trusted, X509Certificate2 who, double deadline = 50)
        {
            JsonObject call = Call("x", [1, 2], deadline: deadline);
            call["tls"] = new JsonObject
            {
                ["ca"] = Pem("ca.pem", trusted.ExportCertificatePem()),
                ["certificate"] = Pem("c.pem", who.ExportCertificatePem()),
                ["key"] = Pem("k.pem", who.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem()),
            };
            return (await ForeignClient.CallAsync("localhost:" + server.Address.Split(':')[1], call, token)).Code;
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_file_with_certificate_key_and_what_is_between_serves_all_of_it(CancellationToken token)
    {
        using X509Certificate2 authority = Authority("Ours"), between = Between(authority), served = Signed(between, ServerAuthentication);
        string file = Pem("all.pem", served.ExportCertificatePem() + "\n" + served.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem() + "\n" + between.ExportCertificatePem());
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o => o.CertificateFile = file);
        string[] sent = [];
        await ServedAsync(server, token, chain => sent = [.. chain.ChainPolicy.ExtraStore.Select(c => c.Thumbprint)]);
        Assert.That(sent, Does.Contain(between.Thumbprint));
    }

    [Test]
    public void Files_of_certificates_that_cannot_be_used_are_an_error_at_once()
    {
        using X509Certificate2 authority = Authority("Ours"), served = Signed(authority, ServerAuthentication), other = Signed(authority, ServerAuthentication);
        string certificate = Pem("c.pem", served.ExportCertificatePem()), key = Pem("k.pem", served.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem());
        string otherKey = Pem("o.pem", other.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem()), empty = Pem("empty.pem", "");
        Assert.Multiple(() =>
        {
            AssertRefused(o => (o.CertificateFile, o.CertificateKeyFile) = ("/nonexistent.pem", key), "/nonexistent.pem");
            AssertRefused(o => (o.CertificateFile, o.CertificateKeyFile) = (certificate, otherKey), certificate);
            AssertRefused(o => o.CertificateFile = certificate, certificate);
            AssertRefused(o => o.CertificateKeyFile = key, "CertificateFile");
            AssertRefused(o => (o.CertificateFile, o.CertificateKeyFile, o.Certificate) = (certificate, key, served), "two certificates");
            AssertRefused(o => o.ClientCertificateAuthoritiesFile = certificate, "without TLS");
            AssertRefused(o => (o.CertificateFile, o.CertificateKeyFile, o.ClientCertificateAuthoritiesFile) = (certificate, key, empty), empty);
        });

        void AssertRefused(Action<ContainerRunnerServerOptions> configure, string named) =>
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", configure), Throws.ArgumentException.With.Message.Contains(named));
    }

    /// <summary>A certificate names URLs of absent issuers: its owner would choose whom the server asks.</summary>
    [Test, CancelAfter(60_000)]
    public async Task The_urls_in_a_callers_certificate_are_not_asked(CancellationToken token)
    {
        using var listener = new TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        using X509Certificate2 authority = Authority("Ours"), stranger = Authority("Stranger"), served = Signed(authority, ServerAuthentication);
        using X509Certificate2 caller = Signed(stranger, ClientAuthentication, $"http://{listener.LocalEndpoint}/issuer.crt");
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o =>
        {
            o.Certificate = served;
            o.ClientCertificateAuthorities.Add(authority);
        });
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", int.Parse(server.Address.Split(':')[1], null), token);
        using var tls = new SslStream(client.GetStream(), false, (_, certificate, _, _) => certificate!.Subject == "CN=localhost");
        Assert.That(
            async () =>
            {
                await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "localhost", ClientCertificateContext = SslStreamCertificateContext.Create(caller, null, offline: true), ApplicationProtocols = [SslApplicationProtocol.Http2] }, token);
                await tls.ReadExactlyAsync(new byte[1], token);
            },
            Throws.InstanceOf<IOException>().Or.InstanceOf<System.Security.Authentication.AuthenticationException>(),
            "the caller was served");
        Assert.That(listener.Pending(), Is.False);
    }

    [Test]
    public void Options_that_do_not_go_together_are_refused()
    {
        using X509Certificate2 authority = Authority("Ours"), served = Signed(authority, ServerAuthentication), withoutKey = X509CertificateLoader.LoadCertificate(served.RawData);
        Assert.Multiple(() =>
        {
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o => o.Certificate = withoutKey), Throws.ArgumentException.With.Message.Contains("private key"));
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", "127.0.0.1:0", o => o.ClientCertificateAuthorities.Add(authority)), Throws.ArgumentException);
            Assert.That(() => ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.Certificate = served), Throws.ArgumentException);
            Assert.That(() => ServeAsync(new StubRunner(), "tcp", ":0", o => o.Certificate = served), Throws.InvalidOperationException);
        });
    }

    /// <summary>The certificate that a server shows.</summary>
    private static async Task<string> ServedAsync(ContainerRunnerServer server, CancellationToken token, Action<X509Chain>? look = null)
    {
        string? shown = null;
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", int.Parse(server.Address.Split(':')[1], null), token);
        using var tls = new SslStream(client.GetStream(), false, (_, certificate, chain, _) =>
        {
            shown = certificate!.GetCertHashString();
            look?.Invoke(chain!);
            return certificate.Subject == "CN=localhost";
        });
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "localhost", ApplicationProtocols = [SslApplicationProtocol.Http2] }, token);
        return shown!;
    }

    private string Pem(string name, string text)
    {
        string path = Path.Combine(Scratch, name);
        File.WriteAllText(path, text);
        return path;
    }

    private static X509Certificate2 Authority(string name)
    {
        RSA key = TestKeys.Next();
        var request = new CertificateRequest("CN=" + name, key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
    }

    /// <summary>An authority below another.</summary>
    private static X509Certificate2 Between(X509Certificate2 authority)
    {
        RSA key = TestKeys.Next();
        var request = new CertificateRequest("CN=Between", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 certificate = request.Create(authority, DateTimeOffset.UtcNow.AddMinutes(-45), DateTimeOffset.UtcNow.AddMinutes(45), [5, 6, 7, 8]);
        return certificate.CopyWithPrivateKey(key);
    }

    private static X509Certificate2 Signed(X509Certificate2 authority, string purpose, string? issuerUrl = null)
    {
        RSA key = TestKeys.Next();
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        if (issuerUrl is not null)
            request.CertificateExtensions.Add(new X509AuthorityInformationAccessExtension(null, [issuerUrl]));
        using X509Certificate2 certificate = request.Create(authority, DateTimeOffset.UtcNow.AddMinutes(-30), DateTimeOffset.UtcNow.AddMinutes(30), [1, 2, 3, 4]);
        return certificate.CopyWithPrivateKey(key);
    }
}
