using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>Where registries lead to, and what goes along.</summary>
[CancelAfter(60_000)]
public class RegistryRedirectTests
{
    private static readonly ImagePullAuth Secret = new() { Username = "user", Password = "hunter2-secret" };

    [Test]
    public async Task Credentials_stay_with_the_registry_and_return_to_it(CancellationToken token)
    {
        using var store = new FaultyServer((request, response) => request.Path == "/back"
            ? response.SendAsync(307, "", "Location: " + request["X-Back"])
            : response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\"", "Set-Cookie: id=1")
            : request.Path.EndsWith("/moved", StringComparison.Ordinal)
                ? response.SendAsync(307, "", $"Location: http://{store.Host}/signed?key=abc")
                : response.SendAsync(307, "", $"Location: {request.Path}/moved"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);

        byte[] blob = await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, 0, new FetchContext { Auth = Secret }, token);

        Assert.That(blob, Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(string.Join(' ', registry.Requests.Select(r => r["Authorization"] is not null)), Is.EqualTo("False True True"));
        ServedRequest foreign = store.Requests.Single();
        Assert.That(string.Join(' ', foreign.Headers.Keys.Order()), Is.EqualTo("Accept-Encoding Host User-Agent"));
        Assert.That(foreign.Target, Is.EqualTo("/signed?key=abc"));
    }

    /// <summary>As in docker: stores behind the registry's own name refuse signed URLs with authorization.</summary>
    [TestCase("/storage/x?sig=a", false)]
    [TestCase("/v2/other/blobs/x", true)]
    public async Task Authorization_stays_within_the_api_of_its_host(string location, bool shown, CancellationToken token)
    {
        using var registry = new FaultyServer((request, response) => request.Target == location
            ? response.SendAsync((request["Authorization"] is not null) == shown ? 200 : 400, FaultyRegistry.Layer)
            : request["Authorization"] is null
                ? response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\"")
                : response.SendAsync(302, "", $"Location: {location}"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, 0, new FetchContext { Auth = Secret }, token), Is.EqualTo(FaultyRegistry.Layer));
    }

    [TestCase("https://registry.test", true)]
    [TestCase("https://registry.test:8443", false)]
    [TestCase("https://other.test", false)]
    [TestCase("http://registry.test:8080", false)]
    public async Task A_registry_that_leads_to_its_own_https_gets_its_credentials_there(string to, bool shown, CancellationToken token)
    {
        using TestCertificates certificates = new();
        using var plain = new FaultyServer((request, response) => response.SendAsync(301, "", $"Location: {to}{request.Target}"));
        using var secure = new FaultyServer(
            (request, response) => request["Authorization"] is null ? response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\"") : FaultyRegistry.ServeAsync(request, response),
            to.StartsWith("https:", StringComparison.Ordinal) ? certificates.Server(new Uri(to).Host) : null);
        var dialer = new TestDialer { ["registry.test"] = ("203.0.113.5", secure.Port), ["other.test"] = ("203.0.113.6", secure.Port) };
        dialer.Plain = plain.Port;
        using var fetcher = new RegistryImageFetcher(
            FaultyRegistry.Options.With(o =>
            {
                o.InsecureRegistries.Add("registry.test");
                o.CertificateAuthorities.Add(certificates.Authority);
            }),
            dialer);
        Task<ImageManifest> Fetch() => fetcher.WholeImageAsync("registry.test/fn", new FetchContext { Auth = Secret }, token);

        if (shown)
            await Fetch();
        else
            Assert.That(Fetch, Throws.TypeOf<UnauthorizedException>());

        Assert.That(plain.Requests.Select(r => r["Authorization"]), Is.All.Null, "they were sent in the clear");
        Assert.That(plain.Requests, Has.Count.EqualTo(1), "it was asked in the clear again");
        Assert.That(secure.Requests.Any(r => r["Authorization"] is not null), Is.EqualTo(shown));
    }

    [Test]
    public async Task A_range_goes_along(CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(206, FaultyRegistry.Layer[10..], "Content-Range: bytes 10-99999/100000"));
        using var registry = new FaultyServer((_, response) => response.SendAsync(302, "", $"Location: http://{store.Host}/x"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, 10, token: token), Is.EqualTo(FaultyRegistry.Layer[10..]));
        Assert.That(store.Requests.Single()["Range"], Is.EqualTo("bytes=10-99999"));
    }

    [Test]
    public async Task A_foreign_host_that_wants_a_token_gets_one_without_credentials(CancellationToken token)
    {
        FaultyServer? realm = null;
        using var store = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{realm!.Host}/token\"")
            : response.SendAsync(200, FaultyRegistry.Layer));
        using (realm = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"foreign\"}")))
        {
            using var registry = new FaultyServer((request, response) => request["Authorization"] is null
                ? response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\"")
                : response.SendAsync(307, "", $"Location: http://{store.Host}/x"));
            using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);

            byte[] blob = await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, 0, new FetchContext { Auth = Secret }, token);

            Assert.That(blob, Is.EqualTo(FaultyRegistry.Layer));
            Assert.That(store.Requests.Last()["Authorization"], Is.EqualTo("Bearer foreign"));
            Assert.That(realm.Requests.Single()["Authorization"], Is.Null);
            Assert.That(store.Requests.Select(r => r["Authorization"] ?? ""), Has.None.Contains("Basic"));
        }
    }

    [TestCase("file:///etc/passwd", "it leads to 'file:'")]
    [TestCase("file:///..", "it leads to 'file:'")]
    [TestCase("ftp://127.0.0.1/x", "it leads to 'ftp:'")]
    [TestCase("data:text/plain,x", "it leads to 'data:'")]
    [TestCase("gopher://127.0.0.1/x", "it leads to 'gopher:'")]
    [TestCase("http://user:pw@127.0.0.1:1/x", "a URL with credentials")]
    [TestCase("http://[::1", "without a URL to go on to")]
    [TestCase("http://cdn.exafbf4c89\u00a56fb9242pplicatio7ae41e4649b934ca\u00ff95991b7852b855", "cannot be written in the DNS")]
    [TestCase("http://169.254.169.254/latest/meta-data/", "an address that no registry may send")]
    [TestCase("http://[fd00:ec2::254]/latest/meta-data/", "an address that no registry may send")]
    [TestCase("http://[::ffff:169.254.169.254]/", "an address that no registry may send")]
    [TestCase("http://[64:ff9b::a9fe:a9fe]/", "an address that no registry may send")]
    [TestCase("http://2852039166/", "an address that no registry may send")]
    [TestCase("http://0xa9fea9fe/", "an address that no registry may send")]
    [TestCase("http://0251.0376.0251.0376/", "an address that no registry may send")]
    [TestCase("http://0.0.0.0/", "an address that no registry may send")]
    [TestCase("http://[fe80::1]/", "an address that no registry may send")]
    [TestCase("http://224.0.0.1/", "an address that no registry may send")]
    [TestCase("", "without a URL to go on to")]
    public void A_redirect_that_no_registry_needs_is_refused(string location, string why, CancellationToken token)
    {
        using var registry = new FaultyServer((_, response) => response.SendAsync(307, "", location.Length == 0 ? [] : ["Location: " + location]));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(
            () => fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token),
            Throws.TypeOf<XfnException>().With.Message.Contains(why).And.Message.Contains(registry.Host));
        Assert.That(registry.Requests, Has.Count.EqualTo(1), "it was tried again");
    }

    // Names and addresses of the test's own: everything connects to loopback, and claims to be elsewhere.
    [TestCase("203.0.113.5", "203.0.113.9", true)]
    [TestCase("203.0.113.5", "10.0.0.9", false)]
    [TestCase("203.0.113.5", "192.168.1.1", false)]
    [TestCase("203.0.113.5", "172.16.0.1", false)]
    [TestCase("203.0.113.5", "100.64.0.1", false)]
    [TestCase("203.0.113.5", "fc00::1", false)]
    [TestCase("203.0.113.5", "127.0.0.1", false)]
    [TestCase("203.0.113.5", "::1", false)]
    [TestCase("203.0.113.5", "::ffff:127.0.0.1", false)]
    [TestCase("203.0.113.5", "169.254.169.254", false)]
    [TestCase("10.0.0.5", "10.0.0.9", true)]
    [TestCase("10.0.0.5", "203.0.113.9", true)]
    [TestCase("10.0.0.5", "127.0.0.1", false)]
    [TestCase("10.0.0.5", "169.254.169.254", false)]
    [TestCase("127.0.0.1", "127.0.0.2", true)]
    [TestCase("127.0.0.1", "169.254.169.254", false)]
    public async Task A_redirect_leads_to_nothing_less_public_than_the_registry(string registryAddress, string storeAddress, bool allowed, CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((_, response) => response.SendAsync(307, "", "Location: http://store.test/x"));
        var dialer = new TestDialer { ["registry.test"] = (registryAddress, registry.Port), ["store.test"] = (storeAddress, store.Port) };
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "registry.test" }), dialer);

        Task<byte[]> Fetch() => fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token);

        if (allowed)
            Assert.That(await Fetch(), Is.EqualTo(FaultyRegistry.Layer));
        else
            Assert.That(Fetch, Throws.TypeOf<XfnException>().With.Message.Contains("it leads to 'store.test'"));
        Assert.That(store.Requests, Has.Count.EqualTo(allowed ? 1 : 0));
    }

    [Test]
    public void A_name_that_resolves_otherwise_the_second_time_gains_nothing(CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((_, response) =>
        {
            response.Close = true;
            return response.SendAsync(307, "", "Connection: close", "Location: http://store.test/x");
        });
        int lookups = 0;
        var dialer = new TestDialer { ["registry.test"] = ("203.0.113.5", registry.Port), ["also.test"] = ("10.0.0.5", registry.Port), ["store.test"] = ("10.0.0.9", store.Port) };
        dialer.Resolving = host => host == "registry.test" && ++lookups > 1 ? "10.0.0.5" : null;
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "registry.test" }), dialer);

        for (int i = 0; i < 3; i++)
            Assert.That(() => fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.TypeOf<XfnException>().With.Message.Contains("it leads to"));
        Assert.That(lookups, Is.EqualTo(3));
        Assert.That(store.Requests, Is.Empty);
    }

    // Rebinding: a name whose server answers with a public address when it is looked at, and with another when it is
    // used.
    [TestCase("10.0.0.9")]
    [TestCase("127.0.0.1")]
    [TestCase("169.254.169.254")]
    public async Task The_address_that_is_connected_to_is_the_one_that_was_looked_at(string other, CancellationToken token)
    {
        using var store = new FaultyServer((_, response) =>
        {
            response.Close = true;
            return response.SendAsync(200, FaultyRegistry.Layer, "Connection: close");
        });
        using var registry = new FaultyServer((_, response) => response.SendAsync(307, "", "Location: http://store.test/x"));
        int lookups = 0;
        var dialer = new TestDialer { ["registry.test"] = ("203.0.113.5", registry.Port), ["store.test"] = ("203.0.113.9", store.Port) };
        dialer.Resolving = host => host == "store.test" && ++lookups > 1 ? other : null;
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "registry.test" }), dialer);

        Assert.That(await fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(lookups, Is.EqualTo(1), "it was looked up again between the check and the connection");
        Assert.That(() => fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.TypeOf<XfnException>().With.Message.Contains("it leads to 'store.test'"));
        Assert.That(dialer.Connected.Select(a => string.Join(' ', a.Select(x => x.ToString()))).Distinct(), Is.EqualTo(["203.0.113.5", "203.0.113.9"]).AsCollection);
    }

    [Test]
    public async Task Of_a_names_addresses_only_those_are_connected_to_that_are_allowed(CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((_, response) => response.SendAsync(307, "", "Location: http://store.test/x"));
        var dialer = new TestDialer { ["registry.test"] = ("203.0.113.5", registry.Port), ["store.test"] = ("203.0.113.9", store.Port) };
        dialer.Resolving = host => host == "store.test" ? "127.0.0.1 169.254.169.254 203.0.113.9 10.0.0.9 ::1" : null;
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "registry.test" }), dialer);
        await fetcher.BlobAsync("registry.test/fn", FaultyRegistry.LayerDescriptor, token: token);
        Assert.That(dialer.Connected.Last(), Is.EqualTo([IPAddress.Parse("203.0.113.9")]).AsCollection);
    }

    [TestCase("https://user@[::1", null)]
    [TestCase("http://STORE/x?sig=a%2Fb%7Ec%41+d%20e&x=[1]", "/x?sig=a%2Fb%7Ec%41+d%20e&x=[1]")]
    [TestCase("http://STORE/a%7Eb//c/./d/%2e%2e/e;f=(1)?q='1'", "/a%7Eb//c/./d/%2e%2e/e;f=(1)?q='1'")]
    [TestCase("http://STORE/x?a=b#part", "/x?a=b")]
    [TestCase("http://STORE?a=b", "/?a=b")]
    [TestCase("http://STORE/with space", "/with%20space")]
    [TestCase("//STORE/x", "/x")]
    public async Task A_signed_url_is_asked_for_as_it_is_written(string location, string? target, CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((_, response) => response.SendAsync(307, "", "Location: " + location.Replace("STORE", store.Host, StringComparison.Ordinal)));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0));
        if (target is null)
        {
            Assert.That(() => fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.TypeOf<XfnException>());
            return;
        }

        Assert.That(await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(store.Requests.Single().Target, Is.EqualTo(target));
    }

    [Test]
    public async Task A_connection_that_the_operator_asked_for_is_no_way_around(CancellationToken token)
    {
        using var inner = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var evil = new FaultyServer((_, response) => response.SendAsync(307, "", "Location: http://inner.test/x"));
        var dialer = new TestDialer { ["inner.test"] = ("10.0.0.9", inner.Port), ["evil.test"] = ("203.0.113.5", evil.Port) };
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "inner.test", "evil.test" }), dialer);

        Assert.That(await fetcher.BlobAsync("inner.test/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(() => fetcher.BlobAsync("evil.test/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.TypeOf<XfnException>());
        Assert.That(inner.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public void A_redirect_from_https_to_http_is_refused(CancellationToken token)
    {
        using TestCertificates certificates = new();
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((_, response) => response.SendAsync(307, "", $"Location: http://{store.Host}/x"), certificates.Server("127.0.0.1"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.CertificateAuthorities = [certificates.Authority]));
        Assert.That(
            () => fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token),
            Throws.TypeOf<XfnException>().With.Message.Contains("it leads to 'http:', expected https:"));
        Assert.That(store.Requests, Is.Empty);
    }

    [TestCase(10, true)]
    [TestCase(11, false)]
    [TestCase(int.MaxValue, false)]
    public async Task Redirects_come_to_an_end(int hops, bool allowed, CancellationToken token)
    {
        int left = hops;
        using var registry = new FaultyServer((_, response) => left-- > 0 ? response.SendAsync(307, "", "Location: /again") : response.SendAsync(200, FaultyRegistry.Layer));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Task<byte[]> Fetch() => fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token);
        if (allowed)
            Assert.That(await Fetch(), Is.EqualTo(FaultyRegistry.Layer));
        else
            Assert.That(Fetch, Throws.TypeOf<XfnException>().With.Message.Contains("expected at most 10"));
        Assert.That(registry.Requests, Has.Count.EqualTo(11));
    }

    [TestCase(false, 0)]
    [TestCase(true, 1)]
    public async Task A_foreign_layer_is_fetched_when_allowed_only(bool allowed, int requests, CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Layer));
        using var registry = new FaultyServer((_, response) => response.SendAsync(404));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.AllowForeignLayers = allowed));
        Descriptor foreign = FaultyRegistry.LayerDescriptor with { Urls = [$"http://{store.Host}/layer"] };
        Task<byte[]> Fetch() => fetcher.BlobAsync($"{registry.Host}/fn", foreign, 0, new FetchContext { Auth = Secret }, token);
        if (allowed)
            Assert.That(await Fetch(), Is.EqualTo(FaultyRegistry.Layer));
        else
            Assert.That(Fetch, Throws.TypeOf<XfnException>().With.Message.Contains("answered 404"));
        Assert.That(store.Requests, Has.Count.EqualTo(requests));
        Assert.That(store.Requests.Select(r => r["Authorization"]), Is.All.Null);
    }

    [TestCase("http://169.254.169.254/layer")]
    [TestCase("file:///etc/passwd")]
    public void A_foreign_layer_leads_nowhere_that_a_redirect_may_not(string url, CancellationToken token)
    {
        using var registry = new FaultyServer((_, response) => response.SendAsync(404));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.AllowForeignLayers = true));
        Assert.That(
            () => fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor with { Urls = [url] }, token: token),
            Throws.TypeOf<XfnException>().With.Message.Contains("it leads to"));
    }
}

/// <summary>Names with addresses of the test's choice, all of which are ports on loopback.</summary>
internal sealed class TestDialer : Dialer
{
    private readonly Dictionary<string, (string Address, int Port)> _hosts = [];

    public (string Address, int Port) this[string host]
    {
        set => _hosts[host] = value;
    }

    /// <summary>The port that is connected to for port 80; 0 for the host's.</summary>
    public int Plain { get; set; }

    public Func<string, string?> Resolving { get; set; } = _ => null;

    /// <summary>What was connected to.</summary>
    public ConcurrentQueue<IPAddress[]> Connected { get; } = [];

    protected override Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken)
    {
        string addresses = Resolving(host) ?? (_hosts.TryGetValue(host, out (string Address, int Port) known) ? known.Address : host);
        return Task.FromResult<IPAddress[]>([.. addresses.Split(' ').Select(IPAddress.Parse)]);
    }

    public override async Task<(Stream Stream, IPAddress Address)> ConnectAsync(IPAddress[] addresses, int port, CancellationToken cancellationToken)
    {
        if (addresses.Length == 0)
            throw new SocketException((int)SocketError.HostNotFound);
        Connected.Enqueue(addresses);
        int local = port == 80 && Plain != 0 ? Plain : _hosts.Values.FirstOrDefault(h => IPAddress.Parse(h.Address).Equals(addresses[0])).Port;
        return ((await base.ConnectAsync([IPAddress.Loopback], local == 0 ? port : local, cancellationToken)).Stream, addresses[0]);
    }
}
