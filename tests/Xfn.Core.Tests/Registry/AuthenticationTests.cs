using System.Text;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>What token servers and registries do wrong when they ask for credentials.</summary>
[CancelAfter(60_000)]
public class AuthenticationTests
{
    private const string Secret = "hunter2-secret";
    private static readonly FetchContext WithPassword = new() { Auth = new ImagePullAuth { Username = "user", Password = Secret } };

    [TestCase("{\"token\":\"good\"}")]
    [TestCase("{\"access_token\":\"good\"}")]
    [TestCase("{\"token\":\"bad\",\"access_token\":\"good\"}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":0}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":-1}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":1000000000000}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":1e300}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":\"300\"}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":\"soon\"}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":\"\\ud800\"}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":null}")]
    [TestCase("{\"token\":\"good\",\"expires_in\":\"1e999\"}")]
    [TestCase("{\"token\":null,\"access_token\":\"good\",\"issued_at\":\"yesterday\"}")]
    public async Task A_token_is_taken_in_all_its_forms(string answer, CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(200, answer));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(1), "the token was not kept");
        Assert.That(pair.Registry.Requests, Has.Count.EqualTo(3));
    }

    [TestCase("", "sent no token")]
    [TestCase("<html>", "sent no token")]
    [TestCase("[]", "sent no token")]
    [TestCase("null", "sent no token")]
    [TestCase("{\"token\":\"\"}", "sent no token")]
    [TestCase("{\"token\":5}", "sent no token")]
    [TestCase("{\"token\":\"a\\r\\nX-Injected: 1\"}", "sent no token")]
    [TestCase("large", "more than 65536 bytes")]
    public void An_answer_that_is_no_token_is_refused(string answer, string why, CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(200, answer == "large" ? new string('x', 70_000) : answer));
        Assert.That(() => pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token), Throws.InstanceOf<XfnException>().With.Message.Contains(why));
    }

    [Test]
    public void A_token_server_that_never_stops_is_not_read_to_the_end(CancellationToken token)
    {
        long sent = 0;
        using var pair = new Pair(async response =>
        {
            await response.RawAsync("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            for (byte[] chunk = new byte[65536]; ; sent += chunk.Length)
                await response.RawAsync(chunk);
        });
        Assert.That(() => pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token), Throws.InstanceOf<XfnException>().With.Message.Contains("more than 65536 bytes"));
        Assert.That(sent, Is.LessThan(64 << 20));
    }

    [TestCase(401)]
    [TestCase(403)]
    public void A_token_server_that_refuses_is_believed(int status, CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(status, "no"));
        Assert.That(() => pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token), Throws.TypeOf<UnauthorizedException>().With.Message.Contains($"answered {status}"));
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task A_token_server_that_fails_in_passing_is_asked_again(CancellationToken token)
    {
        int failures = 2;
        using var pair = new Pair(response => failures-- > 0 ? response.SendAsync(503) : response.SendAsync(200, "{\"token\":\"good\"}"));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(3));
    }

    [Test]
    public void A_registry_that_refuses_every_token_gets_two_requests(CancellationToken token)
    {
        int issued = 0;
        using var pair = new Pair(response => response.SendAsync(200, $"{{\"token\":\"other{issued++}\"}}"));
        Assert.That(() => pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token), Throws.TypeOf<UnauthorizedException>());
        Assert.That(pair.Registry.Requests, Has.Count.EqualTo(2));
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Fifty_requests_share_one_token(CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(200, "{\"token\":\"good\"}"));
        await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => pair.Fetcher.BlobAsync(pair.Image, FaultyRegistry.LayerDescriptor, 0, WithPassword, token)));
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task A_token_that_is_taken_back_is_replaced_once_for_all(CancellationToken token)
    {
        string good = "first";
        using var pair = new Pair(response => response.SendAsync(200, $"{{\"token\":\"{good}\",\"expires_in\":3600}}"), () => good);
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        good = "second";
        await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => pair.Fetcher.BlobAsync(pair.Image, FaultyRegistry.LayerDescriptor, 0, WithPassword, token)));
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task A_token_is_renewed_before_it_runs_out(CancellationToken token)
    {
        var time = new FakeTimeProvider();
        using var pair = new Pair(response => response.SendAsync(200, "{\"token\":\"good\",\"expires_in\":300}"), options: FaultyRegistry.Options.With(o => o.TimeProvider = time));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        time.Advance(TimeSpan.FromSeconds(280));
        int before = pair.Registry.Requests.Count;

        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);

        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(2));
        Assert.That(pair.Registry.Requests.Count - before, Is.EqualTo(1), "the old token was tried first");
    }

    [Test]
    public async Task A_lifetime_that_is_a_text_counts_like_a_number(CancellationToken token)
    {
        var time = new FakeTimeProvider();
        using var pair = new Pair(response => response.SendAsync(200, "{\"token\":\"good\",\"expires_in\":\"300\"}"), options: FaultyRegistry.Options.With(o => o.TimeProvider = time));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        time.Advance(TimeSpan.FromSeconds(200));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(1), "it was taken for the default of a minute");
        time.Advance(TimeSpan.FromSeconds(80));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        Assert.That(pair.Tokens.Requests, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task One_callers_token_is_no_others(CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(200, "{\"token\":\"good\"}"));
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        await pair.Fetcher.ManifestAsync(pair.Image, new FetchContext { Auth = WithPassword.Auth! with { Password = "another" } }, token);
        await pair.Fetcher.ManifestAsync(pair.Image, Fetching.Nothing, token);
        Assert.That(pair.Tokens.Requests.Select(r => r["Authorization"]).Distinct().Count(), Is.EqualTo(3));
    }

    [Test]
    public async Task Who_logs_in_after_a_refusal_need_not_wait_for_a_token_to_run_out(CancellationToken token)
    {
        string given = "anonymous";
        using var tokens = new FaultyServer((request, response) => response.SendAsync(200, $"{{\"token\":\"{(request["Authorization"] is null ? "anonymous" : "known")}\",\"expires_in\":3600}}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] switch
        {
            null => response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\""),
            "Bearer known" => FaultyRegistry.ServeAsync(request, response),
            _ => response.SendAsync(403),
        });
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.UseCredentialFiles = false;
            o.Credentials = (_, _) => new(given == "anonymous" ? null : new ImagePullAuth { Username = given, Password = Secret });
        }));
        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", token: token), Throws.TypeOf<UnauthorizedException>());
        given = "user";
        await fetcher.ManifestAsync($"{registry.Host}/fn", token: token);
    }

    [Test]
    public async Task A_request_names_what_it_wants(CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(200, "{\"token\":\"good\"}"), challenge: "service=\"a b&c\"");
        await pair.Fetcher.ManifestAsync(pair.Image, WithPassword, token);
        Assert.That(pair.Tokens.Requests.Single().Target, Is.EqualTo("/token?service=a%20b%26c&scope=repository%3Afn%3Apull"));
    }

    [Test]
    public async Task A_registry_token_is_sent_as_it_is(CancellationToken token)
    {
        using var pair = new Pair(response => response.SendAsync(500));
        await pair.Fetcher.ManifestAsync(pair.Image, new FetchContext { Auth = new ImagePullAuth { RegistryToken = "good" } }, token);
        Assert.That(pair.Tokens.Requests, Is.Empty);
    }

    [TestCase("file:///etc/passwd", "it leads to 'file:'")]
    [TestCase("/relative", "")]
    [TestCase("http://169.254.169.254/token", "an address that no registry may send")]
    [TestCase("http://user:pw@127.0.0.1/token", "with credentials")]
    [TestCase("", "names no token server")]
    [TestCase("httos:////a\u00824b", "names no token server")]
    public void A_token_server_where_none_can_be_is_not_asked(string realm, string why, CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"{realm}\",service=\"x\""));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", WithPassword, token), Throws.InstanceOf<XfnException>().With.Message.Contains(why));
    }

    [TestCase("203.0.113.9", true)]
    [TestCase("10.0.0.9", false)]
    [TestCase("127.0.0.1", false)]
    public async Task A_token_server_is_no_less_public_than_its_registry(string address, bool allowed, CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"good\"}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", "WWW-Authenticate: Bearer realm=\"http://tokens.test/token\"")
            : FaultyRegistry.ServeAsync(request, response));
        var dialer = new TestDialer { ["registry.test"] = ("203.0.113.5", registry.Port), ["tokens.test"] = (address, tokens.Port) };
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { "registry.test" }), dialer);
        Task<FetchedManifest> Fetch() => fetcher.ManifestAsync("registry.test/fn", WithPassword, token);
        if (allowed)
            await Fetch();
        else
            Assert.That(Fetch, Throws.TypeOf<XfnException>().With.Message.Contains("it leads to 'tokens.test'"));
        Assert.That(tokens.Requests, Has.Count.EqualTo(allowed ? 1 : 0));
    }

    [Test]
    public void A_token_server_by_http_gets_nothing_from_a_registry_by_https(CancellationToken token)
    {
        using TestCertificates certificates = new();
        using var tokens = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"good\"}"));
        using var registry = new FaultyServer(
            (_, response) => response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\""), certificates.Server("127.0.0.1"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.CertificateAuthorities = [certificates.Authority]));
        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", WithPassword, token), Throws.TypeOf<XfnException>().With.Message.Contains("it leads to 'http:'"));
        Assert.That(tokens.Requests, Is.Empty);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Credentials_do_not_follow_where_a_token_server_leads(bool post, CancellationToken token)
    {
        using var other = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"good\"}"));
        using var pair = new Pair(response => response.SendAsync(307, "", $"Location: http://{other.Host}/stolen"));
        var context = post ? new FetchContext { Auth = new ImagePullAuth { IdentityToken = Secret } } : WithPassword;
        try
        {
            pair.Fetcher.ManifestAsync(pair.Image, context, token).GetAwaiter().GetResult();
        }
        catch (XfnException)
        {
            // A POST is not led on at all.
        }

        Assert.That(other.Requests.Select(r => r["Authorization"] + r.Body), Is.All.Empty);
        Assert.That(other.Requests, Has.Count.EqualTo(post ? 0 : 1));
    }

    [TestCase("Basic realm=\"x\", Bearer realm=\"REALM\"", "scope=repository%3Afn%3Apull")]
    [TestCase("Negotiate, Bearer realm=\"REALM\",service=\"x\"", "service=x&scope=repository%3Afn%3Apull")]
    [TestCase("bearer Realm=\"REALM\" , error=\"invalid_token\"", "scope=repository%3Afn%3Apull")]
    [TestCase("Bearer realm=REALM", "scope=repository%3Afn%3Apull")]
    [TestCase("Bearer realm=\"REALM\",scope=\"a:b:c d:e:f\",x=\"quoted \\\" , comma\"", "scope=a%3Ab%3Ac&scope=d%3Ae%3Af")]
    public async Task A_challenge_is_understood_in_all_its_forms(string challenge, string query, CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"good\"}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] == "Bearer good"
            ? FaultyRegistry.ServeAsync(request, response)
            : response.SendAsync(401, "", "WWW-Authenticate: " + challenge.Replace("REALM", $"http://{tokens.Host}/token", StringComparison.Ordinal)));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        FetchedManifest manifest = await fetcher.ManifestAsync($"{registry.Host}/fn", WithPassword, token);
        Assert.That(manifest.Digest, Is.EqualTo(Digest.Compute(manifest.Content.Span)));

        // The token server was asked once, with what the challenge names, and the registry with the token.
        ServedRequest asked = tokens.Requests.Single();
        string basic = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"user:{Secret}"));
        Assert.That((asked.Target, asked["Authorization"]), Is.EqualTo(("/token?" + query, basic)));
        Assert.That(registry.Requests.Last()["Authorization"], Is.EqualTo("Bearer good"));
    }

    [TestCase("")]
    [TestCase("Digest realm=\"x\"")]
    [TestCase("Bearer")]
    [TestCase("=,\"")]
    [TestCase("Bearer realm=\"http://unterminated")]
    public void A_challenge_that_is_none_is_an_error(string challenge, CancellationToken token)
    {
        using var registry = new FaultyServer((_, response) => response.SendAsync(401, "", challenge.Length == 0 ? [] : ["WWW-Authenticate: " + challenge]));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0));
        Assert.That(
            () => fetcher.ManifestAsync($"{registry.Host}/fn", WithPassword, token), Throws.InstanceOf<XfnException>().With.Message.StartsWith("cannot ").And.Message.Contains(registry.Host));
        Assert.That(registry.Requests.Select(r => r["Authorization"]), Is.All.Null, "nothing was shown to who does not say what for");
    }

    [TestCase("password")]
    [TestCase("auth")]
    [TestCase("identity")]
    [TestCase("registry")]
    public async Task A_secret_is_in_no_log_and_no_error(string kind, CancellationToken token)
    {
        ImagePullAuth auth = kind switch
        {
            "password" => new ImagePullAuth { Username = "user", Password = Secret },
            "auth" => new ImagePullAuth { Auth = Convert.ToBase64String(Encoding.UTF8.GetBytes("user:" + Secret)) },
            "identity" => new ImagePullAuth { IdentityToken = Secret },
            _ => new ImagePullAuth { RegistryToken = Secret },
        };
        string encoded = Convert.ToBase64String(Encoding.UTF8.GetBytes("user:" + Secret));
        string[] secrets = [Secret, encoded, "issued-token", "signed-query"];
        var said = new StringBuilder();
        foreach (string fault in new[] { "none", "401", "403", "500", "token 401", "token 500", "token echo", "redirect", "status line", "header line", "chunk" })
        {
            var log = new LogCollector();
            string Echo(ServedRequest request) => $"{request["Authorization"]} {request.Body} {request.Target}";
            FaultyServer? tokens = null;
            using var store = new FaultyServer((_, response) => response.SendAsync(fault == "redirect" ? 403 : 200, FaultyRegistry.Layer));
            using var registry = new FaultyServer((request, response) => request["Authorization"] is null
                ? response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens!.Host}/token\"", "WWW-Authenticate: Basic realm=\"x\"")
                : fault switch
                {
                    "401" or "403" or "500" => response.SendAsync(int.Parse(fault, null), Echo(request), "X-Echo: " + Echo(request)),
                    "status line" => BreakAsync(response, $"HTTP/1.1 x{Echo(request)}\r\n\r\n"),
                    "header line" => BreakAsync(response, $"HTTP/1.1 200 {Echo(request)}\r\n{Echo(request)}\r\n\r\n"),
                    "chunk" => BreakAsync(response, $"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{Echo(request)}\r\n"),
                    _ => response.SendAsync(307, Echo(request), $"Location: http://{store.Host}/x?signature=signed-query"),
                });
            using (tokens = new FaultyServer((request, response) => fault switch
            {
                "token 401" or "token 500" => response.SendAsync(int.Parse(fault[6..], null), Echo(request)),
                "token echo" => response.SendAsync(200, Echo(request)),
                _ => response.SendAsync(200, "{\"token\":\"issued-token\"}"),
            }))
            {
                using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => { o.Logger = log; o.MaxRetries = 1; o.NoProgressTimeout = TimeSpan.FromSeconds(3); }));
                try
                {
                    await fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, 0, new FetchContext { Auth = auth }, token);
                }
                catch (Exception e)
                {
                    said.AppendLine(e.ToString());
                }

                said.AppendLine(log.Text).Append(fetcher).Append(auth).Append(new FetchContext { Auth = auth });
            }
        }

        foreach (string secret in secrets)
            Assert.That(said.ToString(), Does.Not.Contain(secret));
        Assert.That(said.ToString(), Does.Contain("answered 403"), "nothing was said at all");
    }

    private static Task BreakAsync(ServedResponse response, string text)
    {
        response.Close = true;
        return response.RawAsync(text);
    }

    /// <summary>A registry that wants a token, and who issues it.</summary>
    private sealed class Pair : IDisposable
    {
        public Pair(Func<ServedResponse, Task> issue, Func<string>? good = null, RegistryOptions? options = null, string? challenge = null)
        {
            Tokens = new FaultyServer((_, response) => issue(response));
            Registry = new FaultyServer((request, response) => request["Authorization"] == "Bearer " + (good?.Invoke() ?? "good")
                ? FaultyRegistry.ServeAsync(request, response)
                : response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{Tokens.Host}/token\"{(challenge is null ? "" : "," + challenge)}"));
            Fetcher = new RegistryImageFetcher(options ?? FaultyRegistry.Options);
        }

        public FaultyServer Tokens { get; }

        public FaultyServer Registry { get; }

        public RegistryImageFetcher Fetcher { get; }

        public string Image => $"{Registry.Host}/fn";

        public void Dispose()
        {
            Fetcher.Dispose();
            Tokens.Dispose();
            Registry.Dispose();
        }
    }
}
