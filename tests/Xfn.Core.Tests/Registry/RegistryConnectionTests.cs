using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Layers;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>TLS, proxies, mirrors, and registries that are insecure on purpose.</summary>
[CancelAfter(60_000)]
public class RegistryConnectionTests
{
    [TestCase("trusted", null)]
    [TestCase("unknown authority", "certificate is not trusted (")]
    [TestCase("expired", "certificate is not trusted (NotTimeValid")]
    [TestCase("wrong host", "certificate is for another host")]
    [TestCase("another authority", "certificate is not trusted (")]
    public async Task A_certificate_is_what_it_should_be_or_refused(string which, string? why, CancellationToken token)
    {
        using TestCertificates certificates = new();
        using TestCertificates others = new();
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, certificates.Server(which == "wrong host" ? "other.test" : "registry.test", which == "expired"));
        X509Certificate2Collection added = which switch { "unknown authority" => [], "another authority" => [others.Authority], _ => [certificates.Authority] };
        using var fetcher = new RegistryImageFetcher(
            FaultyRegistry.Options.With(o =>
            {
                o.CertificateAuthorities = added;
            }),
            new TestDialer { ["registry.test"] = ("203.0.113.5", server.Port) });
        if (why is null)
            await fetcher.ManifestAsync("registry.test/fn", token: token);
        else
            Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains(why));
        Assert.That(server.Requests, Has.Count.EqualTo(why is null ? 1 : 0));
    }

    [Test]
    public async Task Several_authorities_can_be_added(CancellationToken token)
    {
        using TestCertificates certificates = new();
        using TestCertificates others = new();
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, certificates.Server("registry.test"));
        using var fetcher = new RegistryImageFetcher(
            FaultyRegistry.Options.With(o =>
            {
                o.CertificateAuthorities = [others.Authority, certificates.Authority];
            }),
            new TestDialer { ["registry.test"] = ("203.0.113.5", server.Port) });
        Assert.That((await fetcher.ManifestAsync("registry.test/fn", token: token)).Digest, Is.EqualTo(FaultyRegistry.ManifestDigest));
    }

    /// <summary>docker and podman trust whatever is in certs.d: Go takes each such certificate for a root.</summary>
    [TestCase("root", null)]
    [TestCase("between", null)]
    [TestCase("server", null)]
    [TestCase("other", "is not trusted")]
    [TestCase("other server", "is not trusted")]
    [TestCase("wrong name", "for another host")]
    [TestCase("expired", "is not trusted")]
    public async Task Any_certificate_of_the_servers_chain_may_be_added(string added, string? refusal, CancellationToken token)
    {
        using TestCertificates root = new(), between = new(root), other = new();
        using X509Certificate2 certificate = between.Server(added == "wrong name" ? "other.test" : "registry.test", expired: added == "expired");
        using X509Certificate2 stranger = between.Server("registry.test");
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, certificate);
        using var fetcher = new RegistryImageFetcher(
            FaultyRegistry.Options.With(o =>
            {
                o.MaxRetries = 0;
                o.CertificateAuthorities = added switch
                {
                    // The server does not send who is between it and the root.
                    "root" => [root.Authority, between.Authority],
                    "other" => [other.Authority],
                    "other server" => [stranger],
                    "server" => [X509CertificateLoader.LoadCertificate(certificate.RawData)],
                    _ => [between.Authority],
                };
            }),
            new TestDialer { ["registry.test"] = ("203.0.113.5", server.Port) });
        if (refusal is null)
            await fetcher.ManifestAsync("registry.test/fn", token: token);
        else
            Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains(refusal));
    }

    /// <summary>docker's insecure registries may speak either.</summary>
    [TestCase(true)]
    [TestCase(false)]
    public async Task A_registry_that_is_listed_as_insecure_and_speaks_tls_is_spoken_to_so(bool isTrusted, CancellationToken token)
    {
        using TestCertificates certificates = new();
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, certificates.Server("registry.test"))
        {
            OnPlain = stream => stream.WriteAsync("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"u8.ToArray(), token).AsTask(),
        };
        string registry = $"registry.test:{server.Port}";
        using var fetcher = new RegistryImageFetcher(
            FaultyRegistry.Options.With(o =>
            {
                o.InsecureRegistries = new HashSet<string> { registry };
                o.CertificateAuthorities = isTrusted ? [certificates.Authority] : [];
                o.MaxRetries = 0;
            }),
            new TestDialer { ["registry.test"] = ("203.0.113.5", server.Port) });
        if (isTrusted)
            await fetcher.WholeImageAsync($"{registry}/fn", token: token);
        else
            Assert.That(() => fetcher.ManifestAsync($"{registry}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("is not trusted").And.Message.Contains("Add its certificate authority"));
    }

    [TestCase("/does/not/exist.pem")]
    [TestCase("/dev/null")]
    [TestCase("/etc/passwd")]
    public void A_bundle_without_certificates_is_an_error_at_once(string path) => Assert.That(
        () => new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.GetEnvironmentVariable = n => n == "CA_BUNDLE_PATH" ? path : null)),
        Throws.TypeOf<XfnException>().With.Message.Contains($"'{path}'"));

    [Test]
    public async Task A_registry_that_speaks_http_is_not_spoken_to_unless_it_is_listed(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        var dialer = new TestDialer { ["registry.test"] = ("203.0.113.5", server.Port) };
        using var strict = new RegistryImageFetcher(FaultyRegistry.Options, dialer);
        using var lenient = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "registry.test" }), dialer);

        Assert.That(() => strict.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("insecure registries"));
        Assert.That(server.Requests, Is.Empty);
        Assert.That((await lenient.ManifestAsync("registry.test/fn", token: token)).Digest, Is.EqualTo(FaultyRegistry.ManifestDigest));
        Assert.That(() => lenient.ManifestAsync("registry.test:5000/fn", token: token), Throws.TypeOf<XfnException>(), "another port is another registry");
    }

    [TestCase("reset")]
    [TestCase("close")]
    [TestCase("400")]
    [TestCase("garbage")]
    [TestCase("silence")]
    public async Task A_registry_on_loopback_that_speaks_tls_is_found_so_whatever_it_does_to_plain_requests(string how, CancellationToken token)
    {
        var time = new FakeTimeProvider();
        using TestCertificates certificates = new();
        using var server = new FaultyServer(FaultyRegistry.ServeAsync, certificates.Server("127.0.0.1"))
        {
            OnPlain = async stream =>
            {
                byte[] request = new byte[64];
                await stream.ReadAtLeastAsync(request, 1, cancellationToken: token);
                if (how == "silence")
                {
                    time.Advance(TimeSpan.FromMinutes(2));
                    await stream.ReadAtLeastAsync(new byte[1 << 20], 1 << 20, throwOnEndOfStream: false, token);
                }
                else if (how == "reset")
                {
                    ServedResponse.Reset(stream);
                }
                else if (how != "close")
                {
                    await stream.WriteAsync(how == "400" ? "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"u8.ToArray() : "\x15\x03\x01\x00\x02\x02F"u8.ToArray(), token);
                }
            },
        };
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.CertificateAuthorities = [certificates.Authority];
            o.TimeProvider = time;
            o.MaxRetries = 0;
        }));
        ImageManifest manifest = await fetcher.WholeImageAsync($"{server.Host}/fn", token: token);
        Assert.That(manifest.Layers, Is.EqualTo((Descriptor[])[FaultyRegistry.LayerDescriptor]));
    }

    [Test]
    public void A_registry_on_loopback_that_resets_everything_is_told_so(CancellationToken token)
    {
        using TestCertificates certificates = new();
        using var server = new FaultyServer((_, response) => response.ResetAsync());
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0));
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.StartsWith($"cannot reach registry '{server.Host}'"));
    }

    [Test]
    public void What_is_called_localhost_and_is_not_is_not_spoken_to(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        var dialer = new TestDialer { ["localhost"] = ("203.0.113.5", server.Port) };
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0), dialer);
        Assert.That(() => fetcher.ManifestAsync("localhost/fn", token: token), Throws.TypeOf<XfnException>());
        Assert.That(dialer.Connected, Is.Empty);
        Assert.That(server.Connections, Is.Zero);
    }

    [TestCase("localhost", true)]
    [TestCase("localhost:5000", true)]
    [TestCase("127.0.0.1:5000", true)]
    [TestCase("127.9.9.9", true)]
    [TestCase("[::1]:5000", true)]
    [TestCase("localhost.example.org", false)]
    [TestCase("127.0.0.1.example.org", false)]
    [TestCase("registry.local", false)]
    [TestCase("10.0.0.1:5000", false)]
    [TestCase("192.168.0.1", false)]
    public void Only_loopback_itself_is_loopback(string authority, bool loopback) => Assert.That(RegistryEndpoint.IsLoopback(authority), Is.EqualTo(loopback));

    [Test]
    public async Task A_proxy_is_asked_for_what_is_beyond_it(CancellationToken token)
    {
        using var proxy = new FaultyServer(FaultyRegistry.ServeAsync);
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.Proxy = new WebProxy($"http://{proxy.Host}");
            o.InsecureRegistries = new HashSet<string> { "registry.test" };
        }));
        await fetcher.ManifestAsync("registry.test/fn", token: token);
        Assert.That(proxy.Requests.Single().Target, Is.EqualTo("http://registry.test/v2/fn/manifests/latest"));
    }

    [TestCase("http://blobs.test/x", true)]
    [TestCase("http://169.254.169.254/x", false)]
    [TestCase("http://10.0.0.1/x", false)]
    public async Task A_redirect_goes_through_the_proxy_too(string location, bool allowed, CancellationToken token)
    {
        using var proxy = new FaultyServer((request, response) => request.Target.Contains("registry.test", StringComparison.Ordinal)
            ? response.SendAsync(307, "", "Location: " + location)
            : response.SendAsync(200, FaultyRegistry.Layer));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.Proxy = new WebProxy($"http://{proxy.Host}");
            o.InsecureRegistries = new HashSet<string> { "registry.test" };
        }));
        Task<byte[]> Fetch() => fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token);
        if (allowed)
            Assert.That(await Fetch(), Is.EqualTo(FaultyRegistry.Layer));
        else
            Assert.That(Fetch, Throws.TypeOf<XfnException>().With.Message.Contains("it leads to"));
    }

    [TestCase(407)]
    [TestCase(403)]
    public void A_proxy_that_refuses_is_named(int status, CancellationToken token)
    {
        using var proxy = new FaultyServer((_, response) => response.SendAsync(status));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.Proxy = new WebProxy($"http://{proxy.Host}")));
        Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("HTTPS_PROXY"));
        Assert.That(proxy.Requests.Single().Method, Is.EqualTo("CONNECT"));
    }

    [TestCase(null, "https://r.test/", false)]
    [TestCase("*", "https://r.test/", true)]
    [TestCase("r.test", "https://r.test/", true)]
    [TestCase("test", "https://r.test/", true)]
    [TestCase(".test", "https://r.test/", true)]
    [TestCase("*.test", "https://r.test/", true)]
    [TestCase("est", "https://r.test/", false)]
    [TestCase("r.test:443", "https://r.test/", true)]
    [TestCase("r.test:5000", "https://r.test/", false)]
    [TestCase("10.0.0.0/8, x", "https://10.1.2.3/", true)]
    [TestCase("10.0.0.0/8", "https://11.1.2.3/", false)]
    [TestCase("fd00::/8", "https://[fd00::1]/", true)]
    [TestCase("10.1.2.3", "https://10.1.2.3/", true)]
    [TestCase(null, "http://localhost:5000/", true)]
    [TestCase(null, "http://127.0.0.1:5000/", true)]
    public void Exceptions_from_the_proxy_are_read_as_others_read_them(string? noProxy, string uri, bool bypassed)
    {
        var proxy = new EnvironmentProxy(new RegistryOptions { Proxy = new WebProxy("http://proxy.test:3128"), GetEnvironmentVariable = n => n == "NO_PROXY" ? noProxy : null });
        Assert.That(proxy.IsBypassed(new Uri(uri)), Is.EqualTo(bypassed));
        Assert.That(proxy.GetProxy(new Uri(uri)), bypassed ? Is.Null : Is.EqualTo(new Uri("http://proxy.test:3128")));
    }

    [Test]
    public async Task Mirrors_are_asked_first_and_passed_over_when_they_fail(CancellationToken token)
    {
        using var failing = new FaultyServer((_, response) => response.SendAsync(503));
        using var lacking = new FaultyServer((_, response) => response.SendAsync(404));
        using var mirror = new FaultyServer(FaultyRegistry.ServeAsync);
        var log = new LogCollector();
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.Logger = log;
            o.Mirrors["docker.io"] = [failing.Host, lacking.Host, $"{mirror.Host}/hub/cache"];
        }));

        FetchedManifest manifest = await fetcher.ManifestAsync("busybox", new FetchContext { Auth = new ImagePullAuth { Username = "user", Password = "p" } }, token);

        Assert.That(manifest.Digest, Is.EqualTo(FaultyRegistry.ManifestDigest));
        Assert.That(mirror.Requests.Single().Target, Is.EqualTo("/v2/hub/cache/library/busybox/manifests/latest"));
        Assert.That(failing.Requests, Has.Count.EqualTo(1), "a mirror that fails is not waited for");
        Assert.That(log.Text, Does.Contain($"mirror '{failing.Host}'").And.Contains($"mirror '{lacking.Host}'"));
    }

    [TestCase("manifest")]
    [TestCase("blob")]
    public async Task A_mirror_that_has_something_else_is_passed_over(string what, CancellationToken token)
    {
        using var mirror = new FaultyServer((_, response) => response.SendAsync(200, "<html>Log in to this network</html>"));
        using var registry = new FaultyServer(FaultyRegistry.ServeAsync);
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.Mirrors[registry.Host] = [mirror.Host]));
        if (what == "blob")
            Assert.That(await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        else
            Assert.That((await fetcher.ManifestAsync($"{registry.Host}/fn@{FaultyRegistry.ManifestDigest}", token: token)).Digest, Is.EqualTo(FaultyRegistry.ManifestDigest));
        Assert.That(mirror.Requests, Has.Count.EqualTo(1));
    }

    [TestCase(0, true)]
    [TestCase(0, false)]
    [TestCase(60_000, true)]
    [TestCase(60_000, false)]
    public async Task A_blob_that_a_mirror_cuts_short_comes_from_the_registry(int sent, bool ranges, CancellationToken token)
    {
        using FaultyServer mirror = Cutting(sent);
        using var registry = new FaultyServer((request, response) => ranges && request["Range"] is { } range
            ? response.SendAsync(206, FaultyRegistry.Layer[int.Parse(range[6..].Split('-')[0], null)..], $"Content-Range: bytes {range[6..]}/100000")
            : FaultyRegistry.ServeAsync(request, response));
        Assert.That(await ReadAsync(registry.Host, FaultyRegistry.Options.With(o => o.Mirrors[registry.Host] = [mirror.Host]), token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(mirror.Requests, Has.Count.LessThanOrEqualTo(3), "it was asked again and again");
    }

    /// <summary>Where the registry cannot be reached, a mirror that breaks off is all there is.</summary>
    [Test]
    public async Task A_blob_that_a_mirror_cuts_short_comes_from_it_after_all(CancellationToken token)
    {
        int cuts = 3;
        using FaultyServer mirror = new(async (request, response) =>
        {
            response.Close = cuts-- > 0;
            await response.RawAsync("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            await response.RawAsync(response.Close ? FaultyRegistry.Layer[..1000] : FaultyRegistry.Layer);
        });
        using var registry = new FaultyServer((_, response) => response.SendAsync(404));
        var log = new LogCollector();
        Assert.That(await ReadAsync(registry.Host, FaultyRegistry.Options.With(o =>
        {
            o.Logger = log;
            o.Mirrors[registry.Host] = [mirror.Host];
        }), token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(log.Text, Does.Contain($"registry '{registry.Host}' is passed over"));
    }

    [Test]
    public void A_registry_that_nobody_answers_for_is_said_so(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => { o.ConnectTimeout = TimeSpan.FromMilliseconds(200); o.MaxRetries = 1; }), new SilentDialer("203.0.113.5"));
        Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("no connection within 0.2 seconds"));
    }

    [Test]
    public async Task An_address_that_nobody_answers_at_does_not_hold_up_the_next(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        using var fetcher = new RegistryImageFetcher(
            FaultyRegistry.Options.With(o =>
            {
                o.InsecureRegistries = new HashSet<string> { $"registry.test:{server.Port}" };
                o.MaxRetries = 0;
            }),
            new SilentDialer("2001:db8::1", "203.0.113.5", "127.0.0.1"));
        Assert.That((await fetcher.ManifestAsync($"registry.test:{server.Port}/fn", token: token)).Digest, Is.EqualTo(FaultyRegistry.ManifestDigest));
    }

    [Test]
    public async Task The_registry_itself_serves_what_no_mirror_has(CancellationToken token)
    {
        using var mirror = new FaultyServer((_, response) => response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\""));
        using var registry = new FaultyServer(FaultyRegistry.ServeAsync);
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.Mirrors[registry.Host] = [mirror.Host]));
        await fetcher.WholeImageAsync($"{registry.Host}/fn", new FetchContext { Auth = new ImagePullAuth { Username = "user", Password = "p" } }, token);
        Assert.That(mirror.Requests.Select(r => r["Authorization"]), Is.All.Null, "the mirror was given the registry's credentials");
    }

    [TestCase("nodot")]
    [TestCase("http://mirror.test")]
    [TestCase("mirror.test/UPPER")]
    [TestCase("")]
    public void A_mirror_that_is_none_is_an_error_at_once(string mirror) => Assert.That(
        () => new RegistryImageFetcher(new RegistryOptions { Mirrors = { ["r.test"] = [mirror] } }),
        Throws.TypeOf<ArgumentException>().With.Message.Contains($"cannot use mirror '{mirror}'"));

    private static FaultyServer Cutting(int sent) => new(async (_, response) =>
    {
        response.Close = true;
        await response.RawAsync("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        await response.RawAsync(FaultyRegistry.Layer[..sent]);
    });

    /// <summary>Reads the layer as the runner does.</summary>
    private static async Task<byte[]> ReadAsync(string host, RegistryOptions options, CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(options);
        using var reader = new BlobReader(fetcher, ImageReference.Parse($"{host}/fn"), FaultyRegistry.LayerDescriptor, new FetchContext());
        byte[] content = new byte[FaultyRegistry.Layer.Length];
        await reader.ReadExactlyAsync(content, token);
        await reader.VerifyAsync(token);
        return content;
    }

    /// <summary>A name with several addresses, of which only loopback ones answer.</summary>
    private sealed class SilentDialer(params string[] addresses) : Dialer
    {
        protected override Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken) => Task.FromResult<IPAddress[]>([.. addresses.Select(IPAddress.Parse)]);

        protected override async Task<Stream> ConnectAsync(IPAddress address, int port, CancellationToken cancellationToken)
        {
            if (!IPAddress.IsLoopback(address))
                await Task.Delay(Timeout.Infinite, cancellationToken);
            return await base.ConnectAsync(address, port, cancellationToken);
        }
    }
}
