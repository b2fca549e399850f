using System.Net;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>The handlers of requests to registries, each over a stub, and what they report of failures.</summary>
[CancelAfter(60_000)]
public class HandlerTests
{
    private static readonly RegistryTarget Manifest = new(new RegistryEndpoint("r.test", "", false), ImageReference.Parse("r.test/fn:v1"), default, null);

    [TestCase(false, 3)]
    [TestCase(true, 1)]
    public async Task A_request_is_counted_and_a_mirror_is_asked_once(bool isMirror, int attempts, CancellationToken token)
    {
        using var stack = new HttpMessageInvoker(new RetryHandler(new Stub(_ => new HttpResponseMessage(HttpStatusCode.ServiceUnavailable)), FaultyRegistry.Options.With(o => o.MaxRetries = 2)));
        using HttpRequestMessage request = Request(isMirror ? Manifest with { Endpoint = RegistryEndpoint.Mirror("mirror.test/x") } : Manifest);
        using HttpResponseMessage response = await stack.SendAsync(request, token);
        Assert.That(request.Options.TryGetValue(RetryHandler.Attempts, out int counted) ? counted : 0, Is.EqualTo(attempts));
    }

    /// <summary>A connection being made is judged by the message that asked for it: nobody may change that.</summary>
    [Test]
    public async Task Each_hop_is_a_message_of_its_own_and_authorization_stays_at_home(CancellationToken token)
    {
        var stub = new Stub(hop => hop.RequestUri!.Host switch
        {
            "r.test" when hop.RequestUri.AbsolutePath != "/v2/again" => Redirect("/v2/again"),
            "r.test" => Redirect("https://store.test/x?signature=s"),
            _ => new HttpResponseMessage(HttpStatusCode.OK),
        });
        using var stack = new HttpMessageInvoker(new RedirectFollower(stub, FaultyRegistry.Options));
        using HttpRequestMessage request = Request(Manifest);
        Uri asked = request.RequestUri!;
        request.Headers.Authorization = new("Bearer", "secret");
        using HttpResponseMessage response = await stack.SendAsync(request, token);

        Assert.That(request.RequestUri, Is.EqualTo(asked));
        Assert.That(RedirectFollower.AskedOf(request).AbsoluteUri, Is.EqualTo("https://store.test/x?signature=s"));
        Assert.That(string.Join(' ', stub.Messages.Select(m => m.RequestUri)), Is.EqualTo($"{asked} https://r.test/v2/again https://store.test/x?signature=s"));
        Assert.That(string.Join(' ', stub.Messages.Select(m => $"{m.Headers.Authorization?.Parameter}-{m.Headers.AcceptEncoding}")), Is.EqualTo("secret-identity secret-identity -identity"));
        Assert.That(stub.Messages.Select(RedirectFollower.OriginOf), Is.All.EqualTo(asked), "the registry's word counts at every hop");
    }

    [Test]
    public async Task A_refusal_is_told_to_programs_too(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(404, """{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"""));
        RegistryException cause = await FailAsync(server, token);
        Assert.That((cause.StatusCode, cause.ErrorCode, cause.Host, cause.Attempts), Is.EqualTo((HttpStatusCode.NotFound, "MANIFEST_UNKNOWN", server.Host, 1)));
        Assert.That((cause.Method, cause.Url), Is.EqualTo((HttpMethod.Get, new Uri($"http://{server.Host}/v2/fn/manifests/latest"))));
    }

    [TestCase("""{"errors":[{"code":"a b"}]}""")]
    [TestCase("""{"errors":[{"code":"SHOWN"}]}""")]
    [TestCase("""{"errors":[{"code":5}]}""")]
    public async Task A_code_is_a_word_and_no_secret(string body, CancellationToken token)
    {
        using var server = new FaultyServer((request, response) => request["Authorization"] is null
            ? response.SendAsync(401, "", "WWW-Authenticate: Basic")
            : response.SendAsync(500, body));
        Assert.That((await FailAsync(server, token, new ImagePullAuth { Username = "user", Password = "SHOWN" })).ErrorCode, Is.Null);
    }

    [Test]
    public async Task The_host_that_failed_is_named_where_the_registry_led_to_it(CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(403, """{"errors":[{"code":"DENIED","message":"signed-query"}]}"""));
        using var server = new FaultyServer((_, response) => response.SendAsync(307, "", $"Location: http://{store.Host}/x?signature=signed-query"));
        RegistryException cause = await FailAsync(server, token, found: $": host '{store.Host}', to which registry '{server.Host}' leads, answered 403. ");
        Assert.That((cause.StatusCode, cause.ErrorCode, cause.Host, cause.Url.Authority), Is.EqualTo((HttpStatusCode.Forbidden, (string?)null, store.Host, server.Host)));
    }

    [Test]
    public async Task A_host_that_answers_nothing_is_told_with_how_often_it_was_tried(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.ResetAsync());
        RegistryException cause = await FailAsync(server, token, found: $"cannot reach registry '{server.Host}' for image '{server.Host}/fn:latest' in 2 tries: ");
        Assert.That((cause.StatusCode, cause.Host, cause.Attempts), Is.EqualTo(((HttpStatusCode?)null, server.Host, 2)));
    }

    [Test]
    public async Task A_token_servers_refusal_is_told_without_its_query(CancellationToken token)
    {
        using var tokens = new FaultyServer((_, response) => response.SendAsync(401, """{"errors":[{"code":"UNAUTHORIZED"}]}"""));
        using var server = new FaultyServer((_, response) => response.SendAsync(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token?account=a\""));
        RegistryException cause = await FailAsync(server, token);
        Assert.That((cause.StatusCode, cause.ErrorCode, cause.Url), Is.EqualTo((HttpStatusCode.Unauthorized, "UNAUTHORIZED", new Uri($"http://{tokens.Host}/token"))));
    }

    private static async Task<RegistryException> FailAsync(FaultyServer server, CancellationToken token, ImagePullAuth? auth = null, string found = "cannot ")
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => { o.MaxRetries = 1; o.UseCredentialFiles = false; }));
        XfnException error = (await Assert.CatchAsync<XfnException>(() => fetcher.ManifestAsync($"{server.Host}/fn", new FetchContext { Auth = auth }, token)))!;
        Assert.That(error.Message, Does.Contain(found));
        return (RegistryException)error.InnerException!;
    }

    private static HttpRequestMessage Request(RegistryTarget target)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, target.Url("https"));
        request.Options.Set(RegistryTarget.Key, target);
        return request;
    }

    private static HttpResponseMessage Redirect(string location) => new(HttpStatusCode.TemporaryRedirect) { Headers = { Location = new Uri(location, UriKind.RelativeOrAbsolute) } };

    private sealed class Stub(Func<HttpRequestMessage, HttpResponseMessage> answer) : HttpMessageHandler
    {
        public List<HttpRequestMessage> Messages { get; } = [];

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Messages.Add(request);
            return Task.FromResult(answer(request));
        }
    }
}
