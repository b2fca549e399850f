using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Egress;

namespace Xfn.Core.Tests.Egress;

/// <summary>What passes through the proxy, and what a container can take of the host by it.</summary>
[CancelAfter(120_000)]
internal sealed class EgressProxyTests
{
    private static readonly string[] Rules = ["a.test:443"];

    [Test]
    public async Task An_end_is_passed_on_and_the_other_side_goes_on(CancellationToken token)
    {
        var kept = new ConcurrentQueue<string>();
        using var upstream = TestUpstream.Keeping(kept, "answer");
        await using var egress = new TestEgress(upstream.Port, Rules);
        using Socket client = await egress.ConnectAsync(token);

        // The content does not wait for the answer.
        await client.SendAsync("CONNECT a.test:443 HTTP/1.1\r\n\r\nearly "u8.ToArray(), token);
        await client.SendAsync("late"u8.ToArray(), token);
        client.Shutdown(SocketShutdown.Send);
        Assert.That(Encoding.ASCII.GetString(await client.ReadToEndAsync(token)), Is.EqualTo("HTTP/1.1 200 Connection established\r\n\r\nanswer"));
        Assert.That(kept, Is.EqualTo(["early late"]));
    }

    [Test]
    public async Task The_servers_end_is_passed_on_and_the_client_goes_on(CancellationToken token)
    {
        var kept = new TaskCompletionSource<string>();
        using var upstream = new TestUpstream(async (client, stopped) =>
        {
            client.Shutdown(SocketShutdown.Send);
            kept.SetResult(Encoding.ASCII.GetString(await client.ReadToEndAsync(stopped)));
        });
        await using var egress = new TestEgress(upstream.Port, Rules);
        using Socket client = await egress.TunnelAsync("a.test:443", token);
        Assert.That(await client.ReadToEndAsync(token), Is.Empty);
        await client.SendAsync("still here"u8.ToArray(), token);
        client.Shutdown(SocketShutdown.Send);
        Assert.That(await kept.Task.WaitAsync(token), Is.EqualTo("still here"));
    }

    [Test]
    public async Task A_reset_is_not_taken_for_an_end(CancellationToken token)
    {
        using var upstream = new TestUpstream(async (client, stopped) =>
        {
            await client.SendAsync("half"u8.ToArray(), stopped);
            await client.ReadAsync(1, stopped);
            SocketRelay.Reset(client);
        });
        await using var egress = new TestEgress(upstream.Port, Rules);
        using Socket client = await egress.TunnelAsync("a.test:443", token);
        Assert.That(Encoding.ASCII.GetString(await client.ReadAsync(4, token)), Is.EqualTo("half"));
        await client.SendAsync("x"u8.ToArray(), token);
        Assert.That(async () => await client.ReadToEndAsync(token), Throws.TypeOf<SocketException>().With.Property("SocketErrorCode").EqualTo(SocketError.ConnectionReset));
    }

    [Test]
    public async Task What_a_client_does_not_read_its_server_cannot_send(CancellationToken token)
    {
        const int Total = 64 << 20;
        long sent = 0;
        using var upstream = new TestUpstream(async (client, stopped) =>
        {
            byte[] piece = new byte[64 << 10];
            for (int i = 0; i < Total; i += piece.Length)
            {
                Array.Fill(piece, (byte)(i / piece.Length));
                await client.SendAsync(piece, stopped);
                Interlocked.Add(ref sent, piece.Length);
            }
        });
        await using var egress = new TestEgress(upstream.Port, Rules);
        using Socket client = await egress.TunnelAsync("a.test:443", token);

        // What goes on for a while without being read fills the kernel's buffers, and no more.
        for (long before = -1; before != Interlocked.Read(ref sent);)
        {
            before = Interlocked.Read(ref sent);
            await Task.Delay(200, token);
        }

        Assert.That(sent, Is.LessThan(Total / 2));
        byte[] all = await client.ReadToEndAsync(token);
        Assert.That(all, Has.Length.EqualTo(Total));
        for (int i = 0; i < Total; i += 64 << 10)
            Assert.That(all.AsSpan(i, 64 << 10).IndexOfAnyExcept((byte)(i >> 16)), Is.EqualTo(-1));
    }

    [Test]
    public async Task The_257th_connection_waits_for_a_place(CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, Rules);
        var open = new List<Socket>();
        try
        {
            while (open.Count < EgressProxy.MaxConnections)
                open.Add(await egress.TunnelAsync("a.test:443", token));
            Task<Socket> further = egress.TunnelAsync("a.test:443", token);
            while (!egress.Log.Text.Contains("256 are open", StringComparison.Ordinal))
                await Task.Delay(1, token);
            Assert.That(further.IsCompleted, Is.False);
            Assert.That(egress.Dialer.Connected, Has.Count.EqualTo(256));

            open[100].Dispose();
            open.Add(await further);
            await open[^1].SendAsync("hi"u8.ToArray(), token);
            Assert.That(Encoding.ASCII.GetString(await open[^1].ReadAsync(2, token)), Is.EqualTo("hi"));
        }
        finally
        {
            open.ForEach(socket => socket.Dispose());
        }
    }

    [TestCase("GET http://a.test", "HTTP/1.1 408 Request Timeout")]
    [TestCase("\x05", "")]
    [TestCase("", "")]
    public async Task Who_does_not_say_what_it_wants_is_sent_away(string begin, string answer, CancellationToken token)
    {
        var time = new FakeTimeProvider();
        await using var egress = new TestEgress(1, Rules, time);
        using Socket client = await egress.ConnectAsync(token);
        await client.SendAsync(Encoding.Latin1.GetBytes(begin), token);
        Task<byte[]> read = client.ReadToEndAsync(token);
        while (!HasRead(egress.Address, (IPEndPoint)client.LocalEndPoint!))
            await Task.Delay(5, token);
        int seconds = 0;
        for (; !read.IsCompleted; seconds++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(5, token);
        }

        if (answer.Length > 0)
            Assert.That(Encoding.Latin1.GetString(await read), Does.StartWith(answer).And.Contains("it was not whole within 10 seconds"));
        Assert.That(seconds, Is.AtLeast(10));
    }

    /// <summary>Whether all that came to one end of a connection has been taken there.</summary>
    private static bool HasRead(IPEndPoint near, IPEndPoint far)
    {
        var empty = new Regex($" 0100007F:{near.Port:X4} 0100007F:{far.Port:X4} 01 [0-9A-F]+:00000000 ");
        return File.ReadLines("/proc/self/net/tcp").Any(empty.IsMatch);
    }

    [Test]
    public async Task A_head_without_an_end_is_refused(CancellationToken token)
    {
        await using var egress = new TestEgress(1, Rules);
        string head = "GET http://a.test:443/ HTTP/1.1\r\nX: ";
        Assert.That(await egress.AskAsync(head + new string('x', 100_000), token), Does.StartWith("HTTP/1.1 431 ").And.Contains("its head is longer than 32768 bytes"));
    }

    [Test]
    public async Task A_side_that_says_nothing_after_the_others_end_is_given_up(CancellationToken token)
    {
        var time = new FakeTimeProvider();
        TaskCompletionSource ended = new(), gone = new();
        using var upstream = new TestUpstream(async (client, stopped) =>
        {
            try
            {
                await client.ReadToEndAsync(stopped);
                ended.SetResult();

                // It neither sends nor ends, until the proxy has.
                while (!client.Poll(0, SelectMode.SelectError))
                    await Task.Delay(5, stopped);
            }
            finally
            {
                gone.SetResult();
            }
        });
        await using var egress = new TestEgress(upstream.Port, Rules, time);
        using Socket client = await egress.TunnelAsync("a.test:443", token);
        client.Shutdown(SocketShutdown.Send);
        Task<byte[]> read = client.ReadToEndAsync(token);
        await ended.Task.WaitAsync(token);
        while (!read.IsCompleted)
        {
            time.Advance(TimeSpan.FromMinutes(1));
            await Task.Delay(5, token);
        }

        Assert.That(async () => await read, Throws.TypeOf<SocketException>());
        await gone.Task.WaitAsync(token);
    }

    [Test]
    public async Task The_end_of_a_container_ends_all_that_passes(CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, Rules);
        using Socket tunnel = await egress.TunnelAsync("a.test:443", token), silent = await egress.ConnectAsync(token);
        await egress.StopAsync();
        Assert.That(async () => await tunnel.ReadToEndAsync(token), Throws.TypeOf<SocketException>());
        Assert.That(async () => (await egress.ConnectAsync(token)).Dispose(), Throws.TypeOf<SocketException>());
    }

    [Test]
    public async Task A_link_leads_to_its_host_without_a_word(CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, Rules, linkTo: "a.test:443");
        using Socket client = await egress.ConnectAsync(token);
        await client.SendAsync("hi"u8.ToArray(), token);
        client.Shutdown(SocketShutdown.Send);
        Assert.That(Encoding.ASCII.GetString(await client.ReadToEndAsync(token)), Is.EqualTo("hi"));
        Assert.That(egress.Dialer.Connected, Is.EqualTo(["203.0.113.5 port 443"]));
    }

    [Test]
    public async Task A_link_that_leads_nowhere_is_reset(CancellationToken token)
    {
        await using var egress = new TestEgress(1, Rules, linkTo: "a.test:443");
        egress.Dialer.Names["a.test"] = "127.0.0.1";
        Assert.That(async () => await egress.AskAsync("hi", token), Throws.TypeOf<SocketException>());
        Assert.That(egress.Log.Text, Does.Contain("its address is not public"));
    }

    [Test]
    public void A_container_does_not_fill_the_log()
    {
        var log = new LogCollector();
        var time = new FakeTimeProvider();
        var refusals = new EgressRefusals("c", log, time);
        for (int i = 0; i < 1000; i++)
            refusals.Add(new EgressRefusal(EgressRefusalKind.NotAllowed, $"cannot {i}."));
        Assert.That(log.Lines, Has.Count.EqualTo(EgressRefusals.MaxLines));
        Assert.That(log.Lines[^1], Is.EqualTo("Warning: Container 'c': cannot 19."));

        time.Advance(EgressRefusals.Span);
        refusals.Add(new EgressRefusal(EgressRefusalKind.NotAllowed, "cannot more."));
        refusals.End();
        Assert.That(log.Lines.Skip(EgressRefusals.MaxLines), Is.EqualTo(["Warning: Container 'c': 980 more requests to the proxy were not met, and not logged.", "Warning: Container 'c': cannot more."]));
    }

    [Test]
    public async Task Few_names_are_looked_up_at_once(CancellationToken token)
    {
        await using var egress = new TestEgress(1, ["*.test:443"]);
        var answer = new TaskCompletionSource();
        var running = new ConcurrentBag<int>();
        int now = 0;
        egress.Dialer.Resolving = async () =>
        {
            running.Add(Interlocked.Increment(ref now));
            await answer.Task;
            Interlocked.Decrement(ref now);
        };
        Task<string>[] asked = [.. Enumerable.Range(0, 30).Select(i => egress.AskAsync($"CONNECT {i}.b.test:443 HTTP/1.1\r\n\r\n", token))];
        while (egress.Dialer.LookedUp.Count < 8)
            await Task.Delay(1, token);
        answer.SetResult();
        Assert.That(await Task.WhenAll(asked), Is.All.Contains("no address was found"));
        Assert.That(running.Max(), Is.EqualTo(8));
    }
}
