using System.Globalization;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>Pushes to registries that do as registries may, and as they may not.</summary>
[CancelAfter(60_000)]
public class RegistryPushTests
{
    private const string UploadPath = "/v2/fn/blobs/uploads/";

    private static readonly Descriptor Blob = FaultyRegistry.LayerDescriptor;

    [Test]
    public async Task An_upload_is_taken_up_where_the_registry_says_that_it_is(CancellationToken token)
    {
        const int taken = 40_000;
        var sent = new List<string>();
        using var registry = new FaultyServer(async (request, response) =>
        {
            sent.Add($"{request.Method} {request["Content-Range"]}".TrimEnd());
            switch (request.Method)
            {
                case "HEAD":
                    await response.RawAsync("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                    break;
                case "POST":
                    await response.SendAsync(202, "", $"Location: {UploadPath}1?state=a");
                    break;
                case "PUT" when sent.Count(s => s == "PUT") == 1:
                    await response.SendAsync(502);
                    break;
                case "GET":
                    await response.SendAsync(204, "", $"Location: {UploadPath}1?state=b", $"Range: 0-{taken - 1}");
                    break;
                case "PATCH":
                    await response.SendAsync(202, "", $"Location: {UploadPath}1?state=c");
                    break;
                default:
                    await response.SendAsync(201, "", $"Docker-Content-Digest: {Blob.Digest}");
                    break;
            }
        });
        using var pusher = new RegistryImagePusher(FaultyRegistry.Options);
        Assert.That(await PushAsync(pusher, registry.Host, token), Is.True);
        Assert.That(sent, Is.EqualTo((string[])["HEAD", "POST", "PUT", "GET", $"PATCH {taken}-{Blob.Size - 1}", "PUT"]));
        ServedRequest[] requests = [.. registry.Requests];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(requests[2].Target, Is.EqualTo($"{UploadPath}1?state=a&digest={Blob.Digest}"));
            Assert.That(requests[4].Target, Is.EqualTo($"{UploadPath}1?state=b"));
            Assert.That(requests[4]["Content-Length"], Is.EqualTo((Blob.Size - taken).ToString(CultureInfo.InvariantCulture)));
            Assert.That((requests[5].Target, requests[5]["Content-Length"]), Is.EqualTo(($"{UploadPath}1?state=c&digest={Blob.Digest}", "0")));
        }
    }

    [Test]
    public async Task A_registry_that_does_not_say_where_it_is_gets_all_again(CancellationToken token)
    {
        int puts = 0;
        using var registry = new FaultyServer((request, response) => request.Method switch
        {
            "POST" => response.SendAsync(202, "", $"Location: {UploadPath}{puts}"),
            "PUT" when ++puts < 3 => response.ResetAsync(),
            "PUT" => response.SendAsync(201),
            _ => response.RawAsync("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        });
        using var pusher = new RegistryImagePusher(FaultyRegistry.Options);
        Assert.That(await PushAsync(pusher, registry.Host, token), Is.True);
        Assert.That(registry.Requests.Where(r => r.Method == "PUT").Select(r => r.Path), Is.EqualTo((string[])[UploadPath + "0", UploadPath + "1", UploadPath + "2"]));
    }

    [Test]
    public async Task What_has_come_is_not_sent_again_though_its_answer_was_lost(CancellationToken token)
    {
        bool stored = false;
        using var registry = new FaultyServer((request, response) =>
        {
            switch (request.Method)
            {
                case "HEAD":
                    return response.RawAsync($"HTTP/1.1 {(stored ? 200 : 404)} X\r\nContent-Length: 0\r\n\r\n");
                case "POST":
                    return response.SendAsync(202, "", $"Location: {UploadPath}1");
                case "PUT":
                    stored = true;
                    return response.ResetAsync();
                default:
                    return response.SendAsync(404);
            }
        });
        using var pusher = new RegistryImagePusher(FaultyRegistry.Options);
        Assert.That(await PushAsync(pusher, registry.Host, token), Is.True);
        Assert.That(registry.Requests.Count(r => r.Method == "PUT"), Is.EqualTo(1));
    }

    [Test]
    public async Task A_store_that_the_registry_leads_to_gets_the_blob_and_no_authorization(CancellationToken token)
    {
        using var store = new FaultyServer((_, response) => response.SendAsync(201));
        using var registry = new FaultyServer((request, response) =>
            request["Authorization"] is null ? response.SendAsync(401, "", "WWW-Authenticate: Basic realm=\"x\"")
            : request.Method == "POST" ? response.SendAsync(202, "", $"Location: http://{store.Host}/put?signature=a%2Fb")
            : response.SendAsync(404));
        RegistryOptions options = FaultyRegistry.Options;
        options.Credentials = (_, _) => ValueTask.FromResult<ImagePullAuth?>(new ImagePullAuth { Username = "user", Password = "hunter2-secret" });
        using var pusher = new RegistryImagePusher(options);
        await PushAsync(pusher, registry.Host, token);
        ServedRequest put = store.Requests.Single();
        Assert.That((put.Method, put["Authorization"], put.Target), Is.EqualTo(("PUT", (string?)null, $"/put?signature=a%2Fb&digest={Blob.Digest}")));
        Assert.That(put["Content-Length"], Is.EqualTo(Blob.Size.ToString(CultureInfo.InvariantCulture)));
    }

    [TestCase("http://169.254.169.254/latest", "an address that no registry may send this machine to")]
    [TestCase("ftp://127.0.0.1/x", "it leads to 'ftp:'")]
    [TestCase("", "without a URL to go on to")]
    public void An_upload_goes_nowhere_that_a_pull_would_not(string location, string said, CancellationToken token)
    {
        using var registry = new FaultyServer((request, response) => request.Method == "POST" ? response.SendAsync(202, "", location.Length > 0 ? [$"Location: {location}"] : []) : response.SendAsync(404));
        using var pusher = new RegistryImagePusher(FaultyRegistry.Options);
        Assert.That(() => PushAsync(pusher, registry.Host, token), Throws.TypeOf<XfnException>().With.Message.Contains(said));
    }

    [Test]
    public void A_refusal_says_what_may_be_wrong(CancellationToken token)
    {
        using var registry = new FaultyServer((_, response) => response.SendAsync(401, """{"errors":[{"code":"UNAUTHORIZED","message":"log in first"}]}""", "WWW-Authenticate: Basic realm=\"x\""));
        using var pusher = new RegistryImagePusher(FaultyRegistry.Options);
        Assert.That(() => PushAsync(pusher, registry.Host, token), Throws.TypeOf<UnauthorizedException>()
            .With.Message.StartsWith($"cannot push blob '{Blob.Digest}'").And.Message.Contains("answered 401 (\"log in first\")").And.Message.EndsWith("Give credentials that may push to 'fn'."));
    }

    [Test]
    public void A_registry_that_always_fails_is_given_up(CancellationToken token)
    {
        using var registry = new FaultyServer((request, response) => request.Method switch
        {
            "POST" => response.SendAsync(202, "", $"Location: {UploadPath}1"),
            "PUT" => response.SendAsync(503),
            _ => response.SendAsync(404),
        });
        using var pusher = new RegistryImagePusher(FaultyRegistry.Options);
        Assert.That(() => PushAsync(pusher, registry.Host, token), Throws.TypeOf<XfnException>().With.Message.Contains("answered 503").And.Property("IsTransient").True);
        Assert.That(registry.Requests.Count(r => r.Method == "PUT"), Is.EqualTo(5));
    }

    private static Task<bool> PushAsync(RegistryImagePusher pusher, string host, CancellationToken token) => pusher.PushBlobAsync(
        ImageReference.Parse($"{host}/fn:v1"),
        new PushedBlob(Blob, (offset, _) => Task.FromResult<Stream>(new MemoryStream(FaultyRegistry.Layer, (int)offset, FaultyRegistry.Layer.Length - (int)offset))),
        token);
}
