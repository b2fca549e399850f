using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Xfn.Core.Services;

namespace Xfn.Core.Tests.Services;

/// <summary>Pairs of real connections on the loopback, joined.</summary>
internal sealed class RelayLoopTests
{
    [Test, CancelAfter(60_000)]
    public async Task Bytes_pass_both_ways_whole_and_so_does_the_end_of_one(CancellationToken token)
    {
        await using Joined joined = await Joined.MakeAsync(token);
        byte[] there = RandomNumberGenerator.GetBytes(16 << 20), back = RandomNumberGenerator.GetBytes(5 << 20);
        Task sending = SendAllAsync(joined.Client, there, token), answering = SendAllAsync(joined.Server, back, token);
        Assert.That(await ReadAllAsync(joined.Server, token), Is.EqualTo(there));
        Assert.That(joined.Relay.IsCompleted, Is.False);
        Assert.That(await ReadAllAsync(joined.Client, token), Is.EqualTo(back));
        await Task.WhenAll(sending, answering);
        await joined.Relay.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_ends_still_hears_the_other(CancellationToken token)
    {
        await using Joined joined = await Joined.MakeAsync(token);
        joined.Client.Shutdown(SocketShutdown.Send);
        Assert.That(await ReadAllAsync(joined.Server, token), Is.Empty);
        for (int i = 0; i < 3; i++)
        {
            await joined.Server.SendAsync("x"u8.ToArray(), token);
            Assert.That(await joined.Client.ReceiveAsync(new byte[8], token), Is.EqualTo(1));
        }

        Assert.That(joined.Relay.IsCompleted, Is.False);
        joined.Server.Shutdown(SocketShutdown.Send);
        Assert.That(await ReadAllAsync(joined.Client, token), Is.Empty);
        await joined.Relay.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task What_lies_behind_an_urgent_byte_passes_too(CancellationToken token)
    {
        await using Joined joined = await Joined.MakeAsync(token);
        await joined.Client.SendAsync("before"u8.ToArray(), token);
        joined.Client.Send("!"u8, SocketFlags.OutOfBand);
        await joined.Client.SendAsync("behind"u8.ToArray(), token);
        joined.Client.Shutdown(SocketShutdown.Send);
        Assert.That(await ReadAllAsync(joined.Server, token), Is.EqualTo("beforebehind"u8.ToArray()));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_one_does_not_read_the_other_cannot_send_and_its_going_is_noticed(CancellationToken token)
    {
        await using Joined joined = await Joined.MakeAsync(token);
        long sent = Fill(joined.Client);
        Assert.That(sent, Is.InRange(1, 32 << 20), "what the kernel's buffers on the way hold");

        // Nothing of this can be read by who joins them before it is passed on.
        joined.Client.LingerState = new LingerOption(true, 0);
        joined.Client.Dispose();
        await joined.Relay.WaitAsync(token);
        joined.CloseInner();
        Assert.That((await Assert.ThrowsAsync<SocketException>(() => ReadAllAsync(joined.Server, token)))!.SocketErrorCode, Is.EqualTo(SocketError.ConnectionReset));
    }

    [Test, CancelAfter(60_000)]
    public async Task Both_are_reset_when_it_is_cancelled(CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        await using Joined joined = await Joined.MakeAsync(source.Token);
        Fill(joined.Server);
        await source.CancelAsync();
        await joined.Relay.WaitAsync(token);
        joined.CloseInner();
        foreach (Socket end in (Socket[])[joined.Client, joined.Server])
            Assert.That((await Assert.ThrowsAsync<SocketException>(() => ReadAllAsync(end, token)))!.SocketErrorCode, Is.EqualTo(SocketError.ConnectionReset));
    }

    /// <summary>Sends until nothing is taken any more.</summary>
    private static long Fill(Socket socket)
    {
        var piece = new byte[64 << 10];
        long sent = 0;
        while (socket.Poll(TimeSpan.FromSeconds(1), SelectMode.SelectWrite))
        {
            socket.Blocking = false;
            sent += Math.Max(0, socket.Send(piece, SocketFlags.None, out _));
        }

        return sent;
    }

    private static async Task SendAllAsync(Socket socket, byte[] bytes, CancellationToken token)
    {
        for (int start = 0; start < bytes.Length;)
            start += await socket.SendAsync(bytes.AsMemory(start), token);
        socket.Shutdown(SocketShutdown.Send);
    }

    private static async Task<byte[]> ReadAllAsync(Socket socket, CancellationToken token)
    {
        var piece = new byte[64 << 10];
        using var all = new MemoryStream();
        for (int count; (count = await socket.ReceiveAsync(piece, token)) > 0;)
            all.Write(piece, 0, count);
        return all.ToArray();
    }

    /// <summary>A client, and a server, and what joins them.</summary>
    private sealed class Joined : IAsyncDisposable
    {
        private Socket? _one;
        private Socket? _other;

        public required Socket Client { get; init; }

        public required Socket Server { get; init; }

        public Task Relay { get; private set; } = Task.CompletedTask;

        public static async Task<Joined> MakeAsync(CancellationToken token)
        {
            (Socket client, Socket one) = await ConnectAsync(token);
            (Socket other, Socket server) = await ConnectAsync(token);
            return new Joined { Client = client, Server = server, _one = one, _other = other, Relay = RelayLoop.RelayAsync(one, other, token) };
        }

        /// <summary>Closes the connections that were joined, as who joined them does.</summary>
        public void CloseInner()
        {
            _one!.Dispose();
            _other!.Dispose();
        }

        public async ValueTask DisposeAsync()
        {
            Client.Dispose();
            Server.Dispose();
            await Relay;
            CloseInner();
        }

        private static async Task<(Socket Client, Socket Server)> ConnectAsync(CancellationToken token)
        {
            using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            listener.Listen();
            var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await client.ConnectAsync(listener.LocalEndPoint!, token);
            return (client, await listener.AcceptAsync(token));
        }
    }
}
