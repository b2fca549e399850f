using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>What a registry or its network does wrong.</summary>
[CancelAfter(60_000)]
public class RegistryFaultTests
{
    private static RegistryOptions Options => FaultyRegistry.Options;

    [TestCase(408)]
    [TestCase(429)]
    [TestCase(499)]
    [TestCase(500)]
    [TestCase(502)]
    [TestCase(503)]
    [TestCase(504)]
    [TestCase(522)]
    public async Task A_failure_in_passing_is_tried_again(int status, CancellationToken token)
    {
        int failures = 3;
        using var server = new FaultyServer((request, response) => failures-- > 0 ? response.SendAsync(status, "later") : FaultyRegistry.ServeAsync(request, response));
        using var fetcher = new RegistryImageFetcher(Options);

        FetchedManifest manifest = await fetcher.ManifestAsync($"{server.Host}/fn", token: token);

        Assert.That(manifest.Digest, Is.EqualTo(FaultyRegistry.ManifestDigest));
        Assert.That(server.Requests, Has.Count.EqualTo(4));
    }

    [TestCase(400, 1)]
    [TestCase(401, 2)]
    [TestCase(403, 1)]
    [TestCase(404, 1)]
    [TestCase(501, 1)]
    [TestCase(503, 5)]
    public async Task A_failure_that_stays_is_told_after_as_many_requests_as_make_sense(int status, int requests, CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(status, "no"));
        using var fetcher = new RegistryImageFetcher(Options.With(o => o.InsecureRegistries = new HashSet<string> { server.Host }));

        XfnException e = (await Assert.CatchAsync<XfnException>(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token)))!;

        Assert.That(e, Is.TypeOf(status switch { 401 or 403 => typeof(UnauthorizedException), 404 => typeof(ImageNotFoundException), _ => typeof(XfnException) }));
        Assert.That(e.Message, Does.StartWith("cannot ").And.Contains($"{server.Host}/fn:latest"));
        Assert.That(e.IsTransient, Is.EqualTo(status == 503));
        Assert.That(server.Requests, Has.Count.EqualTo(requests));
    }

    [TestCase("1", 0.9)]
    [TestCase("date", 0.1)]
    [TestCase("-5", 0)]
    [TestCase("1000000000000", 0)]
    [TestCase("soon", 0)]
    public async Task A_registry_says_when_to_ask_again(string retryAfter, double seconds, CancellationToken token)
    {
        bool failed = false;
        string Value() => retryAfter == "date" ? DateTimeOffset.UtcNow.AddSeconds(2).ToString("R") : retryAfter;
        using var server = new FaultyServer((request, response) =>
        {
            if (failed)
                return FaultyRegistry.ServeAsync(request, response);
            failed = true;
            return response.SendAsync(429, "", "Retry-After: " + Value());
        });
        using var fetcher = new RegistryImageFetcher(Options);
        long start = TimeProvider.System.GetTimestamp();

        await fetcher.ManifestAsync($"{server.Host}/fn", token: token);

        Assert.That(TimeProvider.System.GetElapsedTime(start).TotalSeconds, Is.InRange(seconds, seconds + 30));
    }

    [Test]
    public void How_long_to_wait_is_told_by_the_options_clock(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(429, "", "Retry-After: Sun, 09 Sep 2001 01:46:40 GMT"));
        // 40 seconds before.
        var time = new FakeTimeProvider(new DateTimeOffset(2001, 9, 9, 1, 46, 0, TimeSpan.Zero));
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => (o.MaxRetries, o.TimeProvider) = (0, time)));
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("after 40 seconds"));
    }

    [Test]
    public void A_registry_that_wants_too_long_a_wait_is_not_waited_for(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(429, "", "Retry-After: 1000000000"));
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("429").And.Message.Contains("after 10000000"));
        Assert.That(server.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public void A_caller_that_waits_no_longer_ends_the_waiting(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(503, "", "Retry-After: 30"));
        using var fetcher = new RegistryImageFetcher(Options);
        using var deadline = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: deadline.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public async Task A_connection_that_breaks_is_made_anew(CancellationToken token)
    {
        int connections = 0;
        using var server = new FaultyServer(async (request, response) =>
        {
            response.Close = true;
            switch (Interlocked.Increment(ref connections))
            {
                case 1:
                    await response.RawAsync("HTTP/1.1 200 OK\r\nContent-Le");
                    return;
                case 2:
                    await response.RawAsync("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"schema");
                    return;
                case 3:
                    await response.RawAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"schem");
                    return;
                default:
                    await FaultyRegistry.ServeAsync(request, response);
                    return;
            }
        });
        using var fetcher = new RegistryImageFetcher(Options.With(o => o.InsecureRegistries = new HashSet<string> { server.Host }));

        Assert.That((await fetcher.ManifestAsync($"{server.Host}/fn", token: token)).Content.ToArray(), Is.EqualTo(FaultyRegistry.Manifest));
        Assert.That(connections, Is.EqualTo(4));
    }

    [TestCase("headers")]
    [TestCase("body")]
    [TestCase("end")]
    public async Task A_registry_that_trickles_is_given_up(string where, CancellationToken token)
    {
        var time = new FakeTimeProvider();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        using var server = new FaultyServer(async (_, response) =>
        {
            await response.RawAsync("HTTP/1.1 200 OK\r\n");
            if (where != "headers")
                await response.RawAsync($"Content-Length: {FaultyRegistry.Layer.Length}\r\n\r\n");
            if (where == "end")
                await response.RawAsync(FaultyRegistry.Layer[..^1000]);
            while (!stop.IsCancellationRequested)
            {
                await response.RawAsync("x");
                time.Advance(TimeSpan.FromMilliseconds(100));
                await Task.Delay(10, stop.Token);
            }
        });
        using var fetcher = new RegistryImageFetcher(Options.With(o => (o.NoProgressTimeout, o.MaxRetries, o.TimeProvider) = (TimeSpan.FromSeconds(1), 0, time)));

        Exception e = (await Assert.CatchAsync(() => fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token)))!;
        stop.Cancel();

        if (where == "headers")
            Assert.That(e, Is.TypeOf<XfnException>().With.Message.Contains("no answer within 1 seconds"));
        else
            Assert.That(e, Is.TypeOf<IOException>().With.Message.Contains("in 1 seconds"));
    }

    [Test]
    public async Task A_download_that_makes_progress_may_take_any_time(CancellationToken token)
    {
        var time = new FakeTimeProvider();
        using var asked = new SemaphoreSlim(0);
        using var server = new FaultyServer(async (_, response) =>
        {
            await response.RawAsync($"HTTP/1.1 200 OK\r\nContent-Length: {FaultyRegistry.Layer.Length}\r\n\r\n");
            foreach (byte[] chunk in FaultyRegistry.Layer.Chunk(8192))
            {
                await asked.WaitAsync(token);
                await response.RawAsync(chunk);
            }
        });
        using var fetcher = new RegistryImageFetcher(Options.With(o => (o.NoProgressTimeout, o.TimeProvider) = (TimeSpan.FromSeconds(1), time)));
        await using Stream stream = await fetcher.OpenBlobAsync(ImageReference.Parse($"{server.Host}/fn"), FaultyRegistry.LayerDescriptor, 0, Fetching.Nothing, token);
        foreach (byte[] chunk in FaultyRegistry.Layer.Chunk(8192))
        {
            byte[] content = new byte[chunk.Length];
            Task reading = stream.ReadExactlyAsync(content, token).AsTask();
            time.Advance(TimeSpan.FromMilliseconds(900));
            asked.Release();
            await reading;
            Assert.That(content, Is.EqualTo(chunk));
        }
    }

    [TestCase(SocketError.HostNotFound, 1)]
    [TestCase(SocketError.TryAgain, 5)]
    public void A_name_that_does_not_resolve_is_said_so(SocketError error, int attempts, CancellationToken token)
    {
        int resolved = 0;
        var dialer = new TestDialer
        {
            Resolving = _ =>
            {
                resolved++;
                throw new SocketException((int)error);
            },
        };
        using var fetcher = new RegistryImageFetcher(Options, dialer);
        Assert.That(() => fetcher.ManifestAsync("registry.test/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("its name cannot be resolved. Check"));
        Assert.That(resolved, Is.EqualTo(attempts));
    }

    [Test]
    public async Task What_the_registry_says_of_a_manifest_is_passed_on_unchanged(CancellationToken token)
    {
        var lie = Digest.Compute([1]);
        using var server = new FaultyServer((_, response) => response.SendAsync(200, FaultyRegistry.Manifest, "Content-Type: application/x-lie", $"Docker-Content-Digest: {lie}"));
        using var fetcher = new RegistryImageFetcher(Options);
        FetchedManifest manifest = await fetcher.ManifestAsync($"{server.Host}/fn", token: token);
        Assert.That((manifest.Digest, manifest.MediaType), Is.EqualTo((lie, "application/x-lie")));
    }

    [Test]
    public async Task A_reader_may_take_its_time(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        var time = new FakeTimeProvider();
        using var fetcher = new RegistryImageFetcher(Options.With(o => o.TimeProvider = time));
        await using Stream stream = await fetcher.OpenBlobAsync(ImageReference.Parse($"{server.Host}/fn"), FaultyRegistry.LayerDescriptor, 0, Fetching.Nothing, token);
        byte[] content = new byte[FaultyRegistry.Layer.Length];

        await stream.ReadExactlyAsync(content.AsMemory(0, 10), token);
        time.Advance(TimeSpan.FromHours(1));
        await stream.ReadExactlyAsync(content.AsMemory(10), token);

        Assert.That(content, Is.EqualTo(FaultyRegistry.Layer));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void A_manifest_that_is_too_large_is_not_read(bool endless, CancellationToken token)
    {
        long sent = 0;
        using var server = new FaultyServer(async (_, response) =>
        {
            await response.RawAsync("HTTP/1.1 200 OK\r\n" + (endless ? "Connection: close\r\n\r\n" : "Content-Length: 4194305\r\n\r\n"));
            byte[] chunk = new byte[65536];
            for (; endless || sent < 4194305; sent += chunk.Length)
                await response.RawAsync(chunk);
        });
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That(
            () => fetcher.ManifestAsync($"{server.Host}/fn", token: token),
            Throws.TypeOf<InvalidImageException>().With.Message.Contains("more than 4194304 bytes"));
        Assert.That(sent, Is.LessThan(64 << 20));
    }

    [Test]
    public async Task A_manifest_of_exactly_the_limit_is_read(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(200, new byte[4194304]));
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That((await fetcher.ManifestAsync($"{server.Host}/fn", token: token)).Content.Length, Is.EqualTo(4194304));
    }

    [Test]
    public void A_web_page_is_no_manifest(CancellationToken token)
    {
        using var server = new FaultyServer((_, response) => response.SendAsync(200, "<html>log in</html>", "Content-Type: text/html; charset=utf-8"));
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.Contains("it is a web page"));
    }

    [TestCase("one of 200 KB")]
    [TestCase("100,000")]
    [TestCase("endless 1xx")]
    public void Headers_without_end_are_refused(string how, CancellationToken token)
    {
        using var server = new FaultyServer(async (_, response) =>
        {
            response.Close = true;
            if (how.StartsWith("one", StringComparison.Ordinal))
                await response.RawAsync($"HTTP/1.1 200 OK\r\nX: {new string('x', 200_000)}\r\nContent-Length: 0\r\n\r\n");
            for (int i = 0; how.StartsWith("100", StringComparison.Ordinal) && i < 100_000; i++)
                await response.RawAsync(i == 0 ? "HTTP/1.1 200 OK\r\n" : $"X-{i}: x\r\n");
            while (how.StartsWith("endless", StringComparison.Ordinal))
                await response.RawAsync("HTTP/1.1 102 Processing\r\n\r\n");
        });
        using var fetcher = new RegistryImageFetcher(Options.With(o => { o.NoProgressTimeout = TimeSpan.FromSeconds(2); o.MaxRetries = 0; }));
        Assert.That(() => fetcher.ManifestAsync($"{server.Host}/fn", token: token), Throws.TypeOf<XfnException>().With.Message.StartsWith("cannot reach registry"));
    }

    [TestCase(200, null)]
    [TestCase(206, "bytes 0-99999/100000")]
    [TestCase(206, null)]
    [TestCase(416, null)]
    public void A_blob_that_does_not_begin_where_it_should_is_not_taken_for_one_that_does(int status, string? range, CancellationToken token)
    {
        using var server = new FaultyServer((_, response) =>
            response.SendAsync(status, FaultyRegistry.Layer, range is null ? [] : [$"Content-Range: {range}"]));
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That(() => fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, 10, token: token), Throws.TypeOf<NotSupportedException>());
    }

    [Test]
    public void A_blob_that_breaks_off_is_not_whole(CancellationToken token)
    {
        using var server = new FaultyServer(async (_, response) =>
        {
            response.Close = true;
            await response.RawAsync("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            await response.RawAsync(FaultyRegistry.Layer[..50_000]);
        });
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That(() => fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Throws.InstanceOf<IOException>());
    }

    [Test]
    public void A_layer_that_one_registry_of_many_requests_lacks_is_a_failed_pull(CancellationToken token)
    {
        using var server = new FaultyServer((request, response) =>
            request.Path.Contains("/blobs/", StringComparison.Ordinal) ? response.SendAsync(404) : FaultyRegistry.ServeAsync(request, response));
        using var fetcher = new RegistryImageFetcher(Options);
        Assert.That(
            () => fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token),
            Throws.TypeOf<XfnException>().With.Message.Contains(FaultyRegistry.LayerDescriptor.Digest.ToString()).And.Property(nameof(XfnException.Stage)).EqualTo(RunStage.Pull));
    }

    [Test]
    public async Task An_unchanged_image_costs_one_request_whatever_the_registry_honours(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        using var fetcher = new RegistryImageFetcher(Options);
        FetchedManifest known = await fetcher.ManifestAsync($"{server.Host}/fn", new FetchContext { KnownDigest = FaultyRegistry.ManifestDigest }, token);
        Assert.That(known.IsNotModified, Is.True);
        Assert.That(string.Join(' ', server.Requests.Select(r => r.Method)), Is.EqualTo("HEAD"));
        Assert.That(server.Requests.Single()["If-None-Match"], Is.EqualTo($"\"{FaultyRegistry.ManifestDigest}\""));
    }

    [Test]
    public async Task A_registry_without_head_is_asked_for_the_whole(CancellationToken token)
    {
        using var server = new FaultyServer((request, response) => request.Method == "HEAD"
            ? response.RawAsync("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            : FaultyRegistry.ServeAsync(request, response));
        using var fetcher = new RegistryImageFetcher(Options);
        FetchedManifest known = await fetcher.ManifestAsync($"{server.Host}/fn", new FetchContext { KnownDigest = FaultyRegistry.ManifestDigest }, token);
        Assert.That(known.Content.ToArray(), Is.EqualTo(FaultyRegistry.Manifest));
    }

    [Test]
    public async Task Fifty_blobs_are_fetched_at_once(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        using var fetcher = new RegistryImageFetcher(Options);
        byte[][] blobs = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token)));
        Assert.That(blobs, Is.All.EqualTo(FaultyRegistry.Layer));
    }

    [Test]
    public async Task The_host_program_may_bring_its_own_handler(CancellationToken token)
    {
        using var server = new FaultyServer(FaultyRegistry.ServeAsync);
        using var handler = new HttpClientHandler { AllowAutoRedirect = false };
        using (var fetcher = new RegistryImageFetcher(Options.With(o => o.HttpHandler = handler)))
            Assert.That(await fetcher.BlobAsync($"{server.Host}/fn", FaultyRegistry.LayerDescriptor, token: token), Is.EqualTo(FaultyRegistry.Layer));
        using var invoker = new HttpMessageInvoker(handler);
        using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{server.Host}/");
        using HttpResponseMessage response = await invoker.SendAsync(request, token);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), "the handler was disposed with the fetcher");
    }
}
