using System.Text;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>What registries do differently from the specification and from each other. docs/registries.md says which of
/// them, and where that is written.</summary>
[CancelAfter(60_000)]
public class RegistryKindsTests
{
    private const string Password = "hunter2-secret";
    private static readonly FetchContext WithPassword = new() { Auth = new ImagePullAuth { Username = "user", Password = Password } };
    private static readonly string Basic = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes("user:" + Password));

    [TestCase("BASIC realm=\"Sonatype Nexus Repository Manager\"")]
    [TestCase("Basic realm=\"https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/\",service=\"ecr.amazonaws.com\"")]
    [TestCase("Basic")]
    [TestCase("Basic realm=x,")]
    [TestCase("Negotiate\nBasic realm=\"x\"")]
    [TestCase("Negotiate TlRMTVNTUAAC==, Basic realm=\"x\"")]
    [TestCase("Digest realm=\"a, b\", nonce=\"c\\\"d\", Basic realm=\"x\"")]
    [TestCase("=garbage\nBasic realm=\"x\"")]
    public async Task A_password_is_shown_to_who_asks_for_one_in_whatever_words(string challenges, CancellationToken token)
    {
        string[] headers = [.. challenges.Split('\n').Select(c => "WWW-Authenticate: " + c)];
        using var registry = new FaultyServer((request, response) => request["Authorization"] == Basic ? FaultyRegistry.ServeAsync(request, response) : response.SendAsync(401, "", headers));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        await fetcher.WholeImageAsync($"{registry.Host}/fn", WithPassword, token);
    }

    [TestCase("Bearer realm=\"REALM\",service=\"x\",scope=\"repository:fn:pull\",error=\"invalid_token\", Basic realm=\"x\"", "service=x&scope=repository%3Afn%3Apull")]
    [TestCase("Basic realm=\"x\"\nBearer realm=\"REALM\",service=\"x\"", "service=x&scope=repository%3Afn%3Apull")]
    [TestCase("bearer realm=\"REALM\" service=\"x\"", "service=x&scope=repository%3Afn%3Apull")]
    [TestCase("Bearer realm=REALM,service=x", "service=x&scope=repository%3Afn%3Apull")]
    [TestCase("Bearer realm=\"REALM\",scope=\"\"", "scope=repository%3Afn%3Apull")]
    [TestCase("Bearer realm=\"REALM\",scope=\"repository:hub/fn:pull repository:x:pull\"", "scope=repository%3Ahub%2Ffn%3Apull&scope=repository%3Ax%3Apull")]
    [TestCase("Bearer realm=\"REALM?account=a\",service=\"x y\"", "account=a&service=x%20y&scope=repository%3Afn%3Apull")]
    public async Task A_token_is_asked_for_as_the_registry_says(string challenges, string query, CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"good\"}"));
        string[] headers = [.. challenges.Replace("REALM", $"http://{tokens.Host}/token", StringComparison.Ordinal).Split('\n').Select(c => "www-authenticate: " + c)];
        using var registry = new FaultyServer((request, response) => request["Authorization"] == "Bearer good" ? FaultyRegistry.ServeAsync(request, response) : response.SendAsync(401, "", headers));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        await fetcher.WholeImageAsync($"{registry.Host}/fn", WithPassword, token);
        Assert.That(tokens.Requests.Single().Target, Is.EqualTo("/token?" + query));
        Assert.That(tokens.Requests.Single()["Authorization"], Is.EqualTo(Basic));
    }

    [Test]
    public async Task A_registry_that_says_what_it_wants_at_its_root_only_is_asked_there(CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => response.SendAsync(200, "{\"token\":\"good\"}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] == "Bearer good"
            ? FaultyRegistry.ServeAsync(request, response)
            : request.Path == "/v2/"
                ? response.SendAsync(401, "", $"Www-Authenticate: Bearer realm=\"http://{tokens.Host}/token\",service=\"s\",scope=\"repository:user/image:pull\"")
                : response.SendAsync(401));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        await fetcher.WholeImageAsync($"{registry.Host}/team/fn", token: token);
        Assert.That(tokens.Requests.Single().Target, Is.EqualTo("/token?service=s&scope=repository%3Ateam%2Ffn%3Apull"), "the scope of the root is of another repository");
        Assert.That(registry.Requests.Count(r => r.Path == "/v2/"), Is.EqualTo(1));
    }

    // ECR answers 403 to an old password, ECR Public 400 to such a token, and neither says what it wants instead.
    [TestCase("Basic", 403)]
    [TestCase("Basic", 401)]
    [TestCase("Bearer", 400)]
    [TestCase("Bearer", 403)]
    [TestCase("Bearer", 401)]
    public async Task What_has_run_out_is_replaced_within_the_request(string scheme, int status, CancellationToken token)
    {
        int generation = 1;
        string Secret() => $"secret{generation}";
        using var tokens = new FaultyServer((_, response) => response.SendAsync(200, $"{{\"token\":\"{Secret()}\",\"expires_in\":43200}}"));
        string challenge = scheme == "Basic" ? "Basic realm=\"x\"" : $"Bearer realm=\"http://{tokens.Host}/token\"";
        string Wanted() => scheme == "Basic" ? "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes("AWS:" + Secret())) : "Bearer " + Secret();
        using var registry = new FaultyServer((request, response) => request["Authorization"] is not { } shown
            ? response.SendAsync(401, "", "WWW-Authenticate: " + challenge)
            : shown == Wanted() ? FaultyRegistry.ServeAsync(request, response) : response.SendAsync(status, "Your authorization token has expired."));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.InsecureRegistries = new HashSet<string> { registry.Host };
            o.Credentials = (_, _) => new(new ImagePullAuth { Username = "AWS", Password = Secret() });
        }));
        string image = $"{registry.Host}/fn";
        await fetcher.ManifestAsync(image, token: token);

        // In the middle of a pull.
        generation++;
        Assert.That(await fetcher.BlobAsync(image, FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        Assert.That(registry.Requests, Has.Count.EqualTo(4 + (status == 401 ? 1 : 0)));
    }

    /// <summary>Harbor asks for a password when a token does not suffice, even if it takes no passwords.</summary>
    [TestCase(true)]
    [TestCase(false)]
    public async Task A_registry_that_wants_a_password_in_the_place_of_a_token_gets_another_token_first(bool tokens, CancellationToken token)
    {
        int asked = 0;
        using var realm = new FaultyServer((_, response) => response.SendAsync(200, $"{{\"token\":\"t{++asked}\"}}"));
        string good = "Bearer t1";
        using var registry = new FaultyServer((request, response) => request["Authorization"] is not { } shown
            ? response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{realm.Host}/token\"")
            : shown == good || (good.Length == 0 && shown.StartsWith("Basic ", StringComparison.Ordinal))
                ? FaultyRegistry.ServeAsync(request, response)
                : response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"harbor\""));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        var context = new FetchContext { Auth = new ImagePullAuth { Username = "user", Password = "p" } };
        await fetcher.ManifestAsync($"{registry.Host}/fn", context, token);

        good = tokens ? "Bearer t2" : "";
        await fetcher.ManifestAsync($"{registry.Host}/fn", context, token);

        Assert.That(string.Join(' ', registry.Requests.Skip(2).Select(r => r["Authorization"]!.Split(' ')[0])), Is.EqualTo(tokens ? "Bearer Bearer" : "Bearer Bearer Basic"));
    }

    [TestCase(400)]
    [TestCase(403)]
    public void What_is_refused_for_another_reason_is_asked_for_once_more_at_most(int status, CancellationToken token)
    {
        using var registry = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\"")
            : response.SendAsync(status));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { registry.Host }));
        for (int i = 0; i < 2; i++)
            Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", WithPassword, token), Throws.InstanceOf<XfnException>().With.Message.Contains($"answered {status}"));
        Assert.That(registry.Requests, Has.Count.EqualTo(4));
    }

    [TestCase(401)]
    [TestCase(403)]
    [TestCase(404)]
    [TestCase(405)]
    public async Task An_identity_token_is_a_password_to_token_servers_that_know_no_other_way(int status, CancellationToken token)
    {
        string encoded = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes("user:identity"));
        using var tokens = new FaultyServer((request, response) => request.Method == "POST" ? response.SendAsync(status)
            : request["Authorization"] == encoded ? response.SendAsync(200, "{\"token\":\"good\"}") : response.SendAsync(401));
        using var registry = new FaultyServer((request, response) => request["Authorization"] == "Bearer good"
            ? FaultyRegistry.ServeAsync(request, response)
            : response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\""));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        string userOnly = Convert.ToBase64String("user:"u8);
        await fetcher.WholeImageAsync($"{registry.Host}/fn", new FetchContext { Auth = new ImagePullAuth { Auth = userOnly, IdentityToken = "identity" } }, token);
    }

    // GHCR refuses an anonymous token for what is private or is not there; Harbor, Quay and Docker Hub give one and
    // refuse it; Artifactory and others say 404.
    [TestCase("token 401", "token server '127.0.0.1' answered 401")]
    [TestCase("token 403", "token server '127.0.0.1' answered 403")]
    [TestCase("401", "answered 401")]
    [TestCase("403", "answered 403")]
    [TestCase("404", "does not have it, or shows it to others only")]
    public void A_refusal_says_where_credentials_were_looked_for(string refusal, string found, CancellationToken token)
    {
        using var home = new TemporaryDirectory();
        File.WriteAllText(home["config.json"], """{"credsStore":"missing","auths":{"other.test":{"auth":"dXNlcjpodW50ZXIy"}}}""");
        using var tokens = new FaultyServer((_, response) => refusal.StartsWith("token", StringComparison.Ordinal) ? response.SendAsync(int.Parse(refusal[6..], null)) : response.SendAsync(200, "{\"token\":\"anonymous\"}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\"")
            : response.SendAsync(int.Parse(refusal, null), "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\",error=\"insufficient_scope\""));
        var log = new LogCollector();
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.Logger = log;
            o.Credentials = (_, _) => throw new InvalidOperationException("vault hunter2");
            o.GetEnvironmentVariable = name => name == "REGISTRY_AUTH_FILE" ? home["config.json"] : null;
        }));

        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", token: token), Throws.TypeOf(refusal == "404" ? typeof(ImageNotFoundException) : typeof(UnauthorizedException))
            .With.Message.Contains(found)
            .And.Message.Contains(
                "; credentials were looked for in the request (none), the host program (its callback failed), DOCKER_AUTH_CONFIG (not set), "
                + $"'{home["config.json"]}' (helper 'docker-credential-missing' failed: there is no such program in PATH; no entry for it). ")
            .And.Message.Contains(refusal == "404" ? "whether they are for these credentials to see" : "Give credentials that may pull")
            .And.Message.Not.Contains("hunter2"));
        Assert.That(log.Text, Does.Contain("Warning: the host program failed").And.Contains("Warning: credentials in"));
    }

    // Harbor refuses what its policy forbids by 412, and only its words say why; so with quotas, and licences.
    [TestCase(412, """{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"current image with 86 vulnerabilities cannot be pulled\ndue to configured policy"}]}""", "answered 412 (\"current image with 86 vulnerabilities cannot be pulled due to configured policy\"). ")]
    [TestCase(403, """{"errors":[{"code":"DENIED","message":"","detail":{"a":1}},{"message":"second"}]}""", "answered 403 (\"DENIED\"). ")]
    [TestCase(429, """{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}""", "too many requests (\"You have reached your pull rate limit.\"). ")]
    [TestCase(404, """{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}""", "does not have it (\"manifest unknown\"). ")]
    [TestCase(500, """{"message":"disk is full"}""", "answered 500 (\"disk is full\"). ")]
    [TestCase(500, "<html>no</html>", "answered 500. ")]
    [TestCase(500, """{"errors":[{"message":"\ud800"}]}""", "answered 500. ")]
    [TestCase(500, """{"errors":[]}""", "answered 500. ")]
    [TestCase(500, "[", "answered 500. ")]
    public void What_a_registry_says_of_its_refusal_is_told(int status, string body, string found, CancellationToken token)
    {
        using var registry = new FaultyServer((_, response) => response.SendAsync(status, body));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0));
        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", token: token), Throws.InstanceOf<XfnException>().With.Message.Contains(found));
        Assert.That(() => fetcher.BlobAsync($"{registry.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.InstanceOf<XfnException>().With.Message.Contains(found.Replace("does not have it", "answered 404", StringComparison.Ordinal)));
    }

    [TestCase("""{"details":"incorrect username or password"}""", "answered 401 (\"incorrect username or password\"); credentials")]
    [TestCase("""{"error":"invalid_grant","error_description":"the token is over"}""", "answered 401 (\"the token is over\"); credentials")]
    public void What_a_token_server_says_of_its_refusal_is_told(string body, string found, CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => response.SendAsync(401, body));
        using var registry = new FaultyServer((_, response) => response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\""));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", WithPassword, token), Throws.TypeOf<UnauthorizedException>().With.Message.Contains(found));
    }

    [TestCase("Basic")]
    [TestCase("Bearer")]
    public void Words_that_hold_what_was_shown_are_not_repeated(string scheme, CancellationToken token)
    {
        string Words(ServedRequest request) => $$"""{"errors":[{"message":"no: {{(request["Authorization"] == Basic ? Password : request["Authorization"])}}"}]}""";
        using var tokens = new FaultyServer((request, response) => request.Target.Contains("other", StringComparison.Ordinal) ? response.SendAsync(401, Words(request)) : response.SendAsync(200, "{\"token\":\"issued-token\"}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", "WWW-Authenticate: " + (scheme == "Basic" ? "Basic realm=\"x\"" : $"Bearer realm=\"http://{tokens.Host}/token\""))
            : response.SendAsync(403, Words(request)));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0));
        foreach (string image in new[] { "fn", "other" })
        {
            Assert.That(
                () => fetcher.ManifestAsync($"{registry.Host}/{image}", WithPassword, token),
                Throws.InstanceOf<UnauthorizedException>().With.Message.Not.Contains(Password).And.Message.Not.Contains("issued-token").And.Message.Not.Contains("no: "));
        }
    }

    [Test]
    public void A_refusal_whose_words_do_not_come_is_told_all_the_same(CancellationToken token)
    {
        using var registry = new FaultyServer((_, response) => response.RawAsync("HTTP/1.1 418 No\r\nContent-Length: 100\r\n\r\n{\"message\":\"so"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.MaxRetries = 0));
        Assert.That(() => fetcher.ManifestAsync($"{registry.Host}/fn", token: token), Throws.InstanceOf<XfnException>().With.Message.Contains("answered 418. "));
    }

    [TestCase("token 401", "Check these credentials, and that they have not expired")]
    [TestCase("401", "Check that these credentials may pull it, and that the repository exists")]
    [TestCase("404", "does not have it, or shows it to others only; credentials were looked for in the request (found)")]
    public void A_refusal_of_credentials_says_whose_they_were(string refusal, string said, CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => refusal.StartsWith("token", StringComparison.Ordinal) ? response.SendAsync(401) : response.SendAsync(200, "{\"token\":\"t\"}"));
        using var registry = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\"")
            : response.SendAsync(int.Parse(refusal, null)));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(
            () => fetcher.ManifestAsync($"{registry.Host}/fn", WithPassword, token),
            Throws.InstanceOf<XfnException>().With.Message.Contains("credentials were looked for in the request (found)").And.Message.Contains(said).And.Message.Not.Contains(Password));
    }

    [Test]
    public async Task An_image_that_anybody_may_have_needs_no_source_of_credentials_to_work(CancellationToken token)
    {
        using var home = new TemporaryDirectory();
        File.WriteAllText(home["config.json"], """{"credsStore":"desktop.exe"}""");
        using var tokens = new FaultyServer((request, response) => request["Authorization"] is null ? response.SendAsync(200, "{\"token\":\"anonymous\"}") : response.SendAsync(401));
        using var registry = new FaultyServer((request, response) => request["Authorization"] == "Bearer anonymous"
            ? FaultyRegistry.ServeAsync(request, response)
            : response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\""));
        var log = new LogCollector();
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.Logger = log;
            o.Credentials = (_, _) => throw new InvalidOperationException("no vault");
            o.GetEnvironmentVariable = name => name switch { "DOCKER_AUTH_CONFIG" => "{broken", "DOCKER_CONFIG" => home.Path, _ => null };
        }));
        await fetcher.WholeImageAsync($"{registry.Host}/fn", token: token);
        Assert.That(log.Text, Does.Contain("credentials in DOCKER_AUTH_CONFIG are passed over").And.Contains("helper 'docker-credential-desktop.exe' failed: there is no such program in PATH"));
    }

    [TestCase("gzip")]
    [TestCase("x-gzip")]
    [TestCase("gzip, identity")]
    public async Task The_digest_proves_the_bytes_whatever_their_label(string encoding, CancellationToken token)
    {
        using var server = new FaultyServer((request, response) => request.Path.Contains("/manifests/", StringComparison.Ordinal)
            ? response.SendAsync(200, FaultyRegistry.Manifest, [.. FaultyRegistry.ManifestHeaders, "Content-Encoding: " + encoding])
            : response.SendAsync(200, FaultyRegistry.Layer, "Content-Encoding: " + encoding));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        await fetcher.WholeImageAsync($"{server.Host}/fn", token: token);
        Assert.That(server.Requests.Select(r => r["Accept-Encoding"]), Is.All.EqualTo("identity"));
    }

    [Test]
    public void A_manifest_that_was_compressed_on_the_way_is_told_so(CancellationToken token)
    {
        using var packed = new MemoryStream();
        using (var gzip = new System.IO.Compression.GZipStream(packed, System.IO.Compression.CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(FaultyRegistry.Manifest);
        using var server = new FaultyServer((_, response) => response.SendAsync(200, packed.ToArray(), [.. FaultyRegistry.ManifestHeaders, "Content-Encoding: gzip"]));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<InvalidImageException>().With.Message.Contains("compressed on the way"));
    }

    [Test]
    public async Task A_registry_may_send_no_header_that_it_need_not(CancellationToken token)
    {
        using var server = new FaultyServer((request, response) =>
            response.RawAsync([.. Encoding.ASCII.GetBytes("HTTP/1.1 200 \r\ncontent-length: "), .. Body(request)]));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        FetchedManifest manifest = await fetcher.ManifestAsync($"{server.Host}/fn", token: token);
        Assert.That((manifest.Content.ToArray(), manifest.MediaType, manifest.Digest.IsEmpty), Is.EqualTo((FaultyRegistry.Manifest, (string?)null, true)));
        Assert.That(await fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));

        static byte[] Body(ServedRequest request)
        {
            byte[] body = request.Path.Contains("/manifests/", StringComparison.Ordinal) ? FaultyRegistry.Manifest : FaultyRegistry.Layer;
            return [.. Encoding.ASCII.GetBytes($"{body.Length}\r\n\r\n"), .. body];
        }
    }

    [Test]
    public async Task Names_of_headers_have_any_case(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(
            200, FaultyRegistry.Manifest, $"content-TYPE: {MediaTypes.OciManifest}", $"DOCKER-CONTENT-DIGEST: {FaultyRegistry.ManifestDigest}", "docker-distribution-api-version: registry/2.0"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        FetchedManifest manifest = await fetcher.ManifestAsync($"{server.Host}/fn", token: token);
        Assert.That((manifest.MediaType, manifest.Digest), Is.EqualTo((MediaTypes.OciManifest, FaultyRegistry.ManifestDigest)));
    }

    [TestCase(400)]
    [TestCase(401)]
    [TestCase(403)]
    [TestCase(404)]
    [TestCase(405)]
    [TestCase(501)]
    [TestCase(200)]
    public async Task A_registry_that_does_not_answer_whether_an_image_has_changed_is_asked_for_it(int status, CancellationToken token)
    {
        using var server = new FaultyServer((request, response) => request.Method == "HEAD"
            ? response.RawAsync($"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n")
            : FaultyRegistry.ServeAsync(request, response));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.InsecureRegistries = new HashSet<string> { server.Host }));
        FetchedManifest manifest = await fetcher.ManifestAsync($"{server.Host}/fn", new FetchContext { KnownDigest = FaultyRegistry.ManifestDigest }, token);
        Assert.That(manifest.Content.ToArray(), Is.EqualTo(FaultyRegistry.Manifest));
    }

    [TestCase("")]
    [TestCase("Retry-After: 0")]
    public async Task A_registry_that_is_not_ready_yet_is_asked_again(string header, CancellationToken token)
    {
        int early = 2;
        using var server = new FaultyServer((request, response) => early-- > 0 ? response.SendAsync(202, "{}", header.Length == 0 ? [] : [header]) : FaultyRegistry.ServeAsync(request, response));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That((await fetcher.ManifestAsync($"{server.Host}/fn", token: token)).Content.ToArray(), Is.EqualTo(FaultyRegistry.Manifest));
        early = 2;
        Assert.That(await fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
    }

    [Test]
    public void A_registry_that_is_never_ready_is_told_so(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(202, "{}", "Retry-After: 300"));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        string not = "answered 202, that it is not ready yet, to be asked again after 300 seconds. Try again later.";
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains(not));
        Assert.That(() => fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.TypeOf<XfnException>().With.Message.Contains(not));
    }

    [Test]
    public async Task A_blob_is_taken_up_where_ranges_need_an_end(CancellationToken token)
    {
        using var server = new FaultyServer((request, response) => request["Range"] == "bytes=10-99999"
            ? response.SendAsync(206, FaultyRegistry.Layer[10..], "Content-Range: bytes 10-99999/100000")
            : response.SendAsync(416));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        Assert.That(await fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, 10, token: token), Is.EqualTo(FaultyRegistry.Layer[10..]));
    }

    [Test]
    public async Task Nothing_is_listed_and_no_page_is_followed(CancellationToken token)
    {
        using var server = new FaultyServer((request, response) => request.Path.Contains("/manifests/", StringComparison.Ordinal)
            ? response.SendAsync(200, FaultyRegistry.Manifest, [.. FaultyRegistry.ManifestHeaders, "Link: </v2/fn/tags/list?n=1&last=a>; rel=\"next\""])
            : response.SendAsync(200, FaultyRegistry.Layer));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        await fetcher.WholeImageAsync($"{server.Host}/fn", token: token);
        Assert.That(server.Requests.Select(r => r.Path.Split('/')[3]).Distinct(), Is.EquivalentTo(["manifests", "blobs"]));
    }
}
