using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Xfn.Core.Egress;
using Xfn.Core.Tests.Registry;

namespace Xfn.Core.Tests.Egress;

/// <summary>What the proxy takes for HTTP, and what it sends on.</summary>
[CancelAfter(120_000)]
internal sealed class EgressHttpTests
{
    private const string Answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\nhi";

    // "|" is the end of a line.
    [TestCase("GET http://a.test/p?q=1 HTTP/1.1|Host: b.test||", "GET /p?q=1 HTTP/1.1|Host: a.test|", "")]
    [TestCase("GET http://a.test HTTP/1.1||", "GET / HTTP/1.1|Host: a.test|", "")]
    [TestCase("GET http://a.test?q HTTP/1.1||", "GET /?q HTTP/1.1|Host: a.test|", "")]
    [TestCase("GET HTTP://A.Test:80/ HTTP/1.0||", "GET / HTTP/1.0|Host: A.Test:80|", "")]
    [TestCase("OPTIONS http://a.test HTTP/1.1||", "OPTIONS * HTTP/1.1|Host: a.test|", "")]
    [TestCase("GET http://a.test/ HTTP/1.1|Accept:x|X-A:  y\t |X-A: z||", "GET / HTTP/1.1|Host: a.test|Accept: x|X-A: y|X-A: z|", "")]
    [TestCase("GET http://a.test/ HTTP/1.1|Connection: x-one, close|Proxy-Connection: keep-alive|Keep-Alive: 5|X-One: 1|X-Two: 2|TE: trailers|Upgrade: h2c|Proxy-Authorization: Basic eDp5||", "GET / HTTP/1.1|Host: a.test|X-Two: 2|", "")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: 3||abcGET http://a.test/2 HTTP/1.1||", "POST / HTTP/1.1|Host: a.test|Content-Length: 3|", "abc")]
    [TestCase("POST http://a.test/ HTTP/1.1|Transfer-Encoding: Chunked||3;x=y|abc|0|X-T: 1||GET", "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: Chunked|", "3;x=y|abc|0|X-T: 1||")]
    [TestCase("PUT http://a.test/ HTTP/1.1|Content-Length: 0||", "PUT / HTTP/1.1|Host: a.test|Content-Length: 0|", "")]
    public async Task A_request_is_sent_on(string request, string head, string body, CancellationToken token)
    {
        string version = request.Contains("HTTP/1.0", StringComparison.Ordinal) ? "1.0" : "1.1";
        string whole = Lines($"{head}Via: {version} xfn|Connection: close||{body}");
        var received = new ConcurrentQueue<string>();
        using var upstream = new TestUpstream(async (client, stopped) =>
        {
            received.Enqueue(Encoding.Latin1.GetString(await client.ReadAsync(whole.Length, stopped)));
            await client.SendAsync(Encoding.Latin1.GetBytes(Answer), stopped);
            client.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            received.Enqueue(Encoding.Latin1.GetString(await client.ReadToEndAsync(stopped)));
        });
        await using var egress = new TestEgress(upstream.Port, ["a.test:80"]);
        Assert.That(await egress.AskAsync(Lines(request), token), Is.EqualTo("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-End: 2\r\nVia: 1.1 xfn\r\nConnection: close\r\n\r\nhi"));
        while (received.Count < 2)
            await Task.Delay(1, token);
        Assert.That(received, Is.EqualTo([whole, ""]), "and nothing behind it");
    }

    [TestCase("GET / HTTP/1.1|Host: a.test||", "it names no host")]
    [TestCase("GET https://a.test/ HTTP/1.1||", "other schemes than http need CONNECT")]
    [TestCase("GET http://u:p@a.test/ HTTP/1.1||", "its port is not")]
    [TestCase("GET http://u@a.test/ HTTP/1.1||", "its host is neither")]
    [TestCase("GET http://a.test:/ HTTP/1.1||", "its port is not")]
    [TestCase("GET http://a.test/#x HTTP/1.1||", "a fragment")]
    [TestCase("GET http:///x HTTP/1.1||", "its host is neither")]
    [TestCase("GET http://a.test\\@b.test/ HTTP/1.1||", "its host is neither")]
    [TestCase("GET http://0x7f.1/ HTTP/1.1||", "its host is neither")]
    [TestCase("GET http://a.test/\x01 HTTP/1.1||", "control characters")]
    [TestCase("GET http://a.test/\xe4 HTTP/1.1||", "its first line is not")]
    [TestCase("GET  http://a.test/ HTTP/1.1||", "its first line is not")]
    [TestCase("GET http://a.test/ HTTP/1.1 ||", "its first line is not")]
    [TestCase(" GET http://a.test/ HTTP/1.1||", "its first line is not")]
    [TestCase("G(T http://a.test/ HTTP/1.1||", "its first line is not")]
    [TestCase("GET http://a.test/ HTTP/2.0||", "its first line is not")]
    [TestCase("GET http://a.test/ http/1.1||", "its first line is not")]
    [TestCase("GET http://a.test/||", "its first line is not")]
    [TestCase("|GET http://a.test/ HTTP/1.1||", "its first line is empty")]
    [TestCase("PRI * HTTP/2.0||SM||", "its first line is not")]
    [TestCase("\x16\x03\x01\x02||", "control characters")]
    [TestCase("\x04\x01||", "control characters")]
    [TestCase("GET http://a.test/ HTTP/1.1\nHost: a.test||", "a line feed alone")]
    [TestCase("GET http://a.test/ HTTP/1.1|A: b\n\n", "a line feed alone")]
    [TestCase("\n", "a line feed alone")]
    [TestCase("GET http://a.test/ HTTP/1.1|A: b\rc||", "control characters")]
    [TestCase("GET http://a.test/ HTTP/1.1|A: b\0c||", "control characters")]
    [TestCase("GET http://a.test/ HTTP/1.1|A: b| c||", "folded over lines")]
    [TestCase("GET http://a.test/ HTTP/1.1| A: b||", "folded over lines")]
    [TestCase("GET http://a.test/ HTTP/1.1|A : b||", "name is none")]
    [TestCase("GET http://a.test/ HTTP/1.1|: b||", "name is none")]
    [TestCase("GET http://a.test/ HTTP/1.1|A||", "name is none")]
    [TestCase("GET http://a.test/ HTTP/1.1|A\xe4: b||", "name is none")]
    [TestCase("GET http://a.test/ HTTP/1.1|Host: a.test|host: b.test||", "more than one Host")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: 1|Transfer-Encoding: chunked||", "both Content-Length and Transfer-Encoding")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: 1|Content-Length: 1||", "more than one Content-Length")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: 1, 1||", "its Content-Length is no number")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: +1||", "its Content-Length is no number")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length:||", "its Content-Length is no number")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: 99999999999999999999||", "its Content-Length is no number")]
    [TestCase("POST http://a.test/ HTTP/1.1|Transfer-Encoding: gzip, chunked||", "is not 'chunked'")]
    [TestCase("POST http://a.test/ HTTP/1.1|Transfer-Encoding: chunked|Transfer-Encoding: chunked||", "is not 'chunked'")]
    [TestCase("POST http://a.test/ HTTP/1.1|Transfer-Encoding: xchunked||", "is not 'chunked'")]
    [TestCase("POST http://a.test/ HTTP/1.0|Transfer-Encoding: chunked||", "Transfer-Encoding in HTTP/1.0")]
    [TestCase("POST http://a.test/ HTTP/1.1|Content-Length: 1|Connection: content-length||", "its Connection names a header that is the message's")]
    [TestCase("CONNECT a.test HTTP/1.1||", "it has no port")]
    [TestCase("CONNECT http://a.test:80 HTTP/1.1||", "its host is neither")]
    [TestCase("CONNECT a.test:80/ HTTP/1.1||", "its port is not")]
    [TestCase("CONNECT u@a.test:80 HTTP/1.1||", "its host is neither")]
    [TestCase("CONNECT [fe80::1%25eth0]:80 HTTP/1.1||", "no IPv6 address")]
    [TestCase("CONNECT a.test:80 HTTP/1.1|Content-Length: 5||", "CONNECT has no content")]
    [TestCase("CONNECT a.test:80 HTTP/1.1|Transfer-Encoding: chunked||", "CONNECT has no content")]
    public async Task What_is_no_request_is_refused(string request, string found, CancellationToken token)
    {
        await using var egress = new TestEgress(1, ["a.test:80", "b.test:80"]);
        Assert.That(await egress.AskAsync(Lines(request), token), Does.StartWith("HTTP/1.1 400 Bad Request\r\n").And.Contains("\r\n\r\ncannot read a request to the proxy: ").And.Contains(found));
        Assert.That(egress.Dialer.LookedUp, Is.Empty);
        Assert.That(egress.Dialer.Connected, Is.Empty);
    }

    [TestCase("|")]
    [TestCase("x|")]
    [TestCase("-1|a|")]
    [TestCase("1 |a|")]
    [TestCase("1\na\n0\n\n")]
    [TestCase("1;\n|a|")]
    [TestCase("1|ab|")]
    [TestCase("0000000000000001|a|0||")]
    [TestCase("0| x: y||")]
    [TestCase("0|x: \0||")]
    [TestCase("0|x\n|")]
    public void Chunks_that_readers_may_read_in_two_ways_are_refused(string body) =>
        Assert.That(EgressHttpBody.Chunked().Take(Encoding.Latin1.GetBytes(Lines(body))), Is.EqualTo(-1));

    [Test]
    public void A_body_ends_where_it_ends_however_it_comes()
    {
        byte[] bytes = Encoding.Latin1.GetBytes(Lines("a;x|0123456789|00B|hello world|0|T: u||rest"));
        for (int piece = 1; piece <= bytes.Length; piece++)
        {
            EgressHttpBody body = EgressHttpBody.Chunked();
            int taken = 0;
            while (!body.IsComplete)
                taken += body.Take(bytes.AsSpan(taken, Math.Min(piece, bytes.Length - taken)));
            Assert.That(taken, Is.EqualTo(bytes.Length - 4));
        }
    }

    [Test]
    public async Task Malformed_chunks_are_refused_and_sent_to_nobody(CancellationToken token)
    {
        var kept = new ConcurrentQueue<string>();
        using var upstream = TestUpstream.Keeping(kept, "");
        await using var egress = new TestEgress(upstream.Port, ["a.test:80"]);
        string answer = await egress.AskAsync(Lines("POST http://a.test/ HTTP/1.1|Transfer-Encoding: chunked||3|abc|x|0||"), token);
        Assert.That(answer, Does.StartWith("HTTP/1.1 400 ").And.Contains("its chunks are malformed"));
    }

    [TestCase("", "HTTP/1.1 502 Bad Gateway|")]
    [TestCase("hello", "HTTP/1.1 502 Bad Gateway|")]
    [TestCase("HTTP/1.1 101 Switching Protocols||", "HTTP/1.1 502 Bad Gateway|")]
    [TestCase("HTTP/1.1 200 OK|A: b| c||", "HTTP/1.1 502 Bad Gateway|")]
    [TestCase("HTTP/1.1 200 OK|A : b||", "HTTP/1.1 502 Bad Gateway|")]
    [TestCase("HTTP/1.1 100 Continue||HTTP/1.1 404 No such thing|A: b||x", "HTTP/1.1 100 Continue|Via: 1.1 xfn|Connection: close||HTTP/1.1 404 No such thing|A: b|Via: 1.1 xfn|Connection: close||x")]
    [TestCase("HTTP/1.0 200|A:||x", "HTTP/1.0 200|A: |Via: 1.0 xfn|Connection: close||x")]
    public async Task An_answer_is_passed_on_or_said_to_be_none(string answer, string expected, CancellationToken token)
    {
        using var upstream = new TestUpstream(async (client, stopped) =>
        {
            await client.ReadHeadAsync(stopped);
            await client.SendAsync(Encoding.Latin1.GetBytes(Lines(answer)), stopped);
        });
        await using var egress = new TestEgress(upstream.Port, ["a.test:80"]);
        Assert.That(await egress.AskAsync(Lines("GET http://a.test/ HTTP/1.1||"), token), Does.StartWith(Lines(expected)), egress.Log.Text);
    }

    [Test]
    public async Task What_cannot_be_reached_is_said(CancellationToken token)
    {
        // Nobody listens at this port of loopback any more.
        int port;
        using (var closed = TestUpstream.Echo())
            port = closed.Port;
        await using var egress = new TestEgress(port, ["a.test:80", "b.test:80"]);
        Assert.That(await egress.AskAsync("CONNECT a.test:80 HTTP/1.1\r\n\r\n", token), Does.StartWith("HTTP/1.1 502 ").And.EndsWith("cannot connect to 'a.test:80': the connection was refused.\n"));
        Assert.That(await egress.AskAsync("CONNECT b.test:80 HTTP/1.1\r\n\r\n", token), Does.StartWith("HTTP/1.1 502 ").And.EndsWith("cannot connect to 'b.test:80': no address was found for the name.\n"));
    }

    [TestCase("http")]
    [TestCase("https")]
    [TestCase("http by socks5")]
    [TestCase("https by socks5")]
    public async Task A_client_of_dotnet_reaches_a_server(string how, CancellationToken token)
    {
        using TestCertificates certificates = new();
        bool isTls = how.StartsWith("https", StringComparison.Ordinal), isSocks = how.EndsWith("socks5", StringComparison.Ordinal);
        byte[] body = [.. Enumerable.Range(0, 300_000).Select(i => (byte)(i * 7))];
        using var server = new FaultyServer((request, response) => response.SendAsync(200, request.Method == "POST" ? Encoding.UTF8.GetBytes(request.Body) : body), isTls ? certificates.Server("a.test") : null);
        await using var egress = new TestEgress(server.Port, ["a.test:" + (isTls ? 443 : 80)]);
        using var handler = new SocketsHttpHandler { Proxy = new WebProxy($"{(isSocks ? "socks5" : "http")}://{egress.Address}") };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, shown, _, _) => shown!.Issuer == certificates.Authority.Subject;
        using var client = new HttpClient(handler) { BaseAddress = new Uri(isTls ? "https://a.test" : "http://a.test") };

        Assert.That(await client.GetByteArrayAsync("/one", token), Is.EqualTo(body));
        string text = new('x', 200_000);
        using HttpResponseMessage posted = await client.PostAsync("/two", new StringContent(text), token);
        Assert.That(await posted.Content.ReadAsStringAsync(token), Is.EqualTo(text));
        Assert.That(server.Requests.Select(r => $"{r.Method} {r.Target} {r["Host"]}"), Is.EqualTo(["GET /one a.test", "POST /two a.test"]));
        Assert.That(egress.Dialer.Connected.Distinct(), Is.EqualTo([$"203.0.113.5 port {(isTls ? 443 : 80)}"]));
        Assert.That(async () => (await client.GetAsync(new Uri(isTls ? "https://b.test/" : "http://b.test/"), token)).EnsureSuccessStatusCode(), Throws.TypeOf<HttpRequestException>());
        Assert.That(egress.Dialer.LookedUp, Does.Not.Contain("b.test"));
    }

    private static string Lines(string text) => text.Replace("|", "\r\n", StringComparison.Ordinal);
}
