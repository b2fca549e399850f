using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>The directories in which docker and podman keep a registry's certificates.</summary>
[CancelAfter(60_000)]
public class HostCertificateTests
{
    private TestCertificates _certificates = null!;
    private TemporaryDirectory _directory = null!;

    [SetUp]
    public void Make() => (_certificates, _directory) = (new TestCertificates(), new TemporaryDirectory());

    [TearDown]
    public void Delete()
    {
        _certificates.Dispose();
        _directory.Dispose();
    }

    /// <summary>What is done with keys of PEM files on Windows.</summary>
    [Test]
    public void A_key_that_the_system_keeps_is_still_the_files()
    {
        X509Certificate2 read = _certificates.Client("runner");
        string thumbprint = read.Thumbprint;
        using X509Certificate2 kept = PemFile.Kept(read);
        using RSA privateKey = kept.GetRSAPrivateKey()!, publicKey = kept.GetRSAPublicKey()!;
        byte[] signature = privateKey.SignData("word"u8, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        Assert.That((kept.Thumbprint, publicKey.VerifyData("word"u8, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)), Is.EqualTo((thumbprint, true)));
    }

    [Test]
    public async Task A_registry_that_wants_to_know_who_asks_is_told(CancellationToken token)
    {
        using DockerRegistry registry = WithClientCertificates();
        string own = Own("etc", registry.Host);
        Write(Path.Combine(own, "ca.crt"), _certificates.Authority);
        using RegistryImageFetcher fetcher = Fetcher();
        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/team/fn:v1", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("wants this machine's certificate"));

        Write(Path.Combine(own, "client.cert"), _certificates.Client("runner"), Path.Combine(own, "client.key"));
        await fetcher.WholeImageAsync($"{registry.Host}/team/fn:v1", token: token);
    }

    [Test]
    public async Task The_users_own_directory_comes_before_the_machines(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, _certificates.Server("registry.test"));
        using RegistryImageFetcher fetcher = Fetcher(server.Port);
        Own("etc", "registry.test");
        Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("not trusted"));

        Write(Path.Combine(Own("home/.config/containers/certs.d", "registry.test"), "ca.crt"), _certificates.Authority);
        await fetcher.ManifestAsync("registry.test/fn", token: token);
    }

    [TestCase("registry.test", true)]
    [TestCase("registry.test:443", true)]
    [TestCase("registry.test:5000", false)]
    [TestCase("other.test", false)]
    public async Task A_directory_is_for_the_registry_that_it_is_named_after(string name, bool trusted, CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, _certificates.Server("registry.test"));
        Write(Path.Combine(Own("etc", name), "any.crt"), _certificates.Authority);
        using RegistryImageFetcher fetcher = Fetcher(server.Port);
        if (trusted)
            await fetcher.ManifestAsync("registry.test/fn", token: token);
        else
            Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("not trusted"));
    }

    [Test]
    public void Directories_can_be_left_alone(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, _certificates.Server("registry.test"));
        Write(Path.Combine(Own("etc", "registry.test"), "ca.crt"), _certificates.Authority);
        using var fetcher = new RegistryImageFetcher(Options().With(o => o.UseCertificateDirectories = false), DialerTo(server.Port));
        Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("not trusted"));
    }

    [Test]
    public async Task Authorities_count_where_the_registry_leads_to_and_who_asks_is_told_to_the_registry_only(CancellationToken token)
    {
        var shown = new List<string?>();
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer), _certificates.Server("store.test")) { OnClient = c => Note(shown, c) };
        var shownToRegistry = new List<string?>();
        using var server = new FaultyServer((_, response) => response.SendAsync(307, "", "Location: https://store.test/blob"), _certificates.Server("registry.test")) { OnClient = c => Note(shownToRegistry, c) };
        string own = Own("etc", "registry.test");
        Write(Path.Combine(own, "ca.crt"), _certificates.Authority);
        Write(Path.Combine(own, "client.cert"), _certificates.Client("runner"), Path.Combine(own, "client.key"));
        using var fetcher = new RegistryImageFetcher(Options(), new TestDialer { ["registry.test"] = ("203.0.113.5", server.Port), ["store.test"] = ("203.0.113.6", store.Port) });

        Assert.That(await fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(shownToRegistry, Is.EqualTo(new[] { "CN=runner" }));
        Assert.That(shown, Is.EqualTo(new string?[] { null }));

        static bool Note(List<string?> shown, X509Certificate? certificate)
        {
            shown.Add(certificate?.Subject);
            return true;
        }
    }

    [TestCase("client.cert", "no 'client.key'")]
    [TestCase("client.key", "no 'client.cert'")]
    [TestCase("ca.crt", "certificate")]
    [TestCase("both", "client.cert")]
    public void What_makes_no_sense_is_named(string file, string why, CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, _certificates.Server("registry.test"));
        string own = Own("etc", "registry.test");
        foreach (string name in file == "both" ? new[] { "client.cert", "client.key" } : [file])
            File.WriteAllText(Path.Combine(own, name), "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n");
        using RegistryImageFetcher fetcher = Fetcher(server.Port);
        Assert.That(
            () => fetcher.ManifestAsync("registry.test/fn", token: token),
            Throws.TypeOf<XfnException>().With.Message.Contains(own).And.Message.Contains(why).And.Message.Not.Contains("hunter2"));
        Assert.That(server.Requests, Is.Empty);
    }

    [Test]
    public void Clients_of_certificates_that_were_replaced_are_ended_when_nobody_waits_for_them_any_more()
    {
        string own = Own("etc", "registry.test");
        var time = new FakeTimeProvider();
        RegistryOptions options = Options().With(o => o.TimeProvider = time);
        using var connections = new RegistryConnections(options, new Dialer(), new EnvironmentProxy(options));
        HttpClient first = Renew(1), second = Renew(2);
        Assert.That(second, Is.Not.SameAs(first));
        Assert.That(() => first.Timeout = TimeSpan.FromSeconds(1), Throws.Nothing, "somebody may wait for an answer");
        time.Advance(TimeSpan.FromMinutes(11));
        HttpClient third = Renew(3);
        Assert.That(() => first.Timeout = TimeSpan.FromSeconds(1), Throws.InstanceOf<ObjectDisposedException>());
        Assert.That(() => third.Timeout = TimeSpan.FromSeconds(1), Throws.Nothing);

        HttpClient Renew(int version)
        {
            Write(Path.Combine(own, "ca.crt"), _certificates.Authority);
            File.SetLastWriteTimeUtc(Path.Combine(own, "ca.crt"), DateTime.UnixEpoch.AddDays(version));
            var registry = new Uri("https://registry.test/v2/");
            return connections.For(registry, registry);
        }
    }

    /// <summary>A certificate names URLs of absent issuers: its owner would choose whom this machine asks.</summary>
    [TestCase(true)]
    [TestCase(false)]
    public void The_urls_in_a_certificate_are_not_asked(bool isAnyRoot)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var stranger = new TestCertificates();
        using X509Certificate2 shown = stranger.Server("registry.test", issuerUrl: $"http://{listener.LocalEndpoint}/issuer.crt");
        Assert.That(CertificateTrust.IsTrusted(shown, null, [_certificates.Authority], "1.3.6.1.5.5.7.3.1", isAnyRoot), Is.False);
        Assert.That(listener.Pending(), Is.False);
    }

    private DockerRegistry WithClientCertificates()
    {
        X509Certificate2 client = _certificates.Client("skopeo");
        var registry = new DockerRegistry(directory =>
        {
            Write(directory["cert.pem"], _certificates.Server("127.0.0.1"), directory["key.pem"]);
            Write(directory["ca.pem"], _certificates.Authority);
            return ($"  tls: {{ certificate: \"{directory["cert.pem"]}\", key: \"{directory["key.pem"]}\", clientcas: [\"{directory["ca.pem"]}\"] }}", "");
        });
        string pushing = Directory.CreateDirectory(_directory["push"]).FullName;
        Write(Path.Combine(pushing, "client.cert"), client, Path.Combine(pushing, "client.key"));
        registry.Push($"oci:{TestImages.Layout}:v1", "team/fn:v1", "--dest-cert-dir", pushing);
        return registry;
    }

    private RegistryImageFetcher Fetcher(int port = 0) => new(Options(), DialerTo(port));

    private static TestDialer DialerTo(int port) => new() { ["registry.test"] = ("203.0.113.5", port) };

    private RegistryOptions Options() => FaultyRegistry.Options.With(o =>
    {
        o.CertificateDirectories = [_directory["etc"]];
        o.GetEnvironmentVariable = name => name == "HOME" ? _directory["home"] : null;
        o.MaxRetries = 0;
    });

    private string Own(string root, string host) => Directory.CreateDirectory(Path.Combine(_directory[root], host)).FullName;

    private static void Write(string path, X509Certificate2 certificate, string? keyPath = null)
    {
        File.WriteAllText(path, certificate.ExportCertificatePem());
        if (keyPath is null)
            return;
        using RSA key = certificate.GetRSAPrivateKey()!;
        File.WriteAllText(keyPath, key.ExportPkcs8PrivateKeyPem());
    }
}
