using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Many containers that live at once, and connections into them whose ends are slow.</summary>
[Category("Long"), Category("soaks")]
internal sealed class ContainerSoakTests : ContainerFixture
{
    private const int MebiByte = 1 << 20;

    [Test, CancelAfter(120_000)]
    public async Task Two_hundred_containers_live_at_once_and_each_answers(CancellationToken token)
    {
        const int count = 200;
        string image = WebImage();
        await Runner.PullAsync(image, cancellationToken: token);
        var clock = Stopwatch.StartNew();
        RunningContainer[] containers = await Task.WhenAll(Enumerable.Range(0, count).Select(i => StartAsync(
            new ContainerRequest { Image = image, Mounts = { Mount.File("/www/index.html", System.Text.Encoding.UTF8.GetBytes($"{i}")) }, Ready = Ready.Listens(80) }, token)));
        TimeSpan started = clock.Elapsed;

        string[] answers = await Task.WhenAll(containers.Select(async container =>
        {
            using HttpClient client = container.CreateHttpClient(80);
            return await client.GetStringAsync("/", token);
        }));
        Assert.That(answers, Is.EqualTo(Enumerable.Range(0, count).Select(i => $"{i}")));
        string[] executed = await Task.WhenAll(containers.Select(async container => (await container.ExecAsync(["cat", "/www/index.html"], cancellationToken: token)).Stdout));
        Assert.That(executed, Is.EqualTo(answers));

        clock.Restart();
        await Task.WhenAll(containers.Select(container => container.DisposeAsync().AsTask()));
        await TestContext.Out.WriteLineAsync($"{count} containers started in {started.TotalSeconds:0.0} s, and stopped in {clock.Elapsed.TotalSeconds:0.0} s");
    }

    [Test, CancelAfter(120_000)]
    public async Task Two_hundred_thousand_entries_are_copied_in_and_out_and_nothing_grows(CancellationToken token)
    {
        token = LongMode.Limit(token);
        const int count = 200_000;
        var limits = new CopyLimits { MaxEntries = 2 * count };
        await using RunningContainer container = await StartAsync(new ContainerRequest { Image = Write(TestImage.Command("sleep", "100000"), "sleep"), Mounts = { Mount.Volume("/data") } }, token);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        await using var archive = new ManyEntries(count);
        CopyReport report = await container.CopyInAsync(archive, "/data", limits, token);
        Assert.That((report.Entries, report.Bytes), Is.EqualTo(((long)count, 0L)));
        await using Stream copied = await container.CopyOutAsync("/data", limits, token);
        long bytes = 0;
        var buffer = new byte[64 << 10];
        while (await copied.ReadAsync(buffer, token) is > 0 and var read)
            bytes += read;
        Assert.That(bytes, Is.GreaterThan(512L * count));
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(16 * MebiByte));
    }

    [Test, CancelAfter(120_000)]
    public async Task Connections_with_slow_ends_hold_their_senders_back_and_nothing_grows(CancellationToken token)
    {
        token = LongMode.Limit(token);

        // A program that accepts and never reads, and one that answers.
        string image = Write(TestImage.Shell("nc -ll -p 7 -e sleep 1000 & exec nc -ll -p 9 -e cat").With("nc"), "slow");
        await RoundAsync();
        Census first = Census.Take(Cache), last = first;
        for (int round = 0; round < LongMode.Rounds(5); round++)
            await RoundAsync();
        last = Census.Take(Cache);
        await TestContext.Out.WriteLineAsync($"{first}\n{last}");
        Assert.Multiple(() =>
        {
            Assert.That(last.Descriptors, Is.LessThanOrEqualTo(first.Descriptors + 20), "descriptors");
            Assert.That(last.ManagedBytes, Is.LessThan(first.ManagedBytes + 4 * MebiByte), "managed memory");
            Assert.That(last.ResidentBytes, Is.LessThan(first.ResidentBytes + 80 * MebiByte), "resident memory");
        });

        async Task RoundAsync()
        {
            await using RunningContainer slow = await StartAsync(new ContainerRequest { Image = image, Ready = Ready.All(Ready.Listens(7), Ready.Listens(9)) }, token);
            await using RunningContainer client = await StartAsync(new ContainerRequest { Image = image }, token);
            IPEndPoint unread = await slow.ForwardAsync(7, cancellationToken: token), echo = await slow.ForwardAsync(9, cancellationToken: token);
            await client.LinkAsync("slow", 107, slow, 7, token);
            await client.LinkAsync("echo", 109, slow, 9, token);
            long before = GC.GetTotalMemory(forceFullCollection: true);

            // Through the port, and through the link.
            using var end = CancellationTokenSource.CreateLinkedTokenSource(token);
            Sender[] senders = [.. Enumerable.Range(0, 20).Select(_ => new Sender(unread, end.Token))];
            await using RunningProcess flood = await client.StartExecAsync(["sh", "-c", "for i in 0 1 2 3 4 5 6 7 8 9; do yes | nc slow 107 & done; wait"], cancellationToken: token);
            using Socket neighbour = await ConnectAsync(echo, token);
            for (long sent = -1; sent != senders.Sum(s => s.Bytes);)
            {
                sent = senders.Sum(s => s.Bytes);
                for (int i = 0; i < 100; i++)
                    await EchoAsync(neighbour, token);
            }

            // The kernel's buffers on the way, of which each end has at most 6 MiB, hold all that was sent.
            Assert.That(senders.Select(s => s.Bytes), Is.All.InRange(1, 32 * MebiByte));
            Assert.That((await client.ExecAsync(["sh", "-c", "echo hello | nc echo 109"], cancellationToken: token)).Stdout, Is.EqualTo("hello\n"));
            Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(16 * MebiByte), "managed memory for 30 connections");
            await end.CancelAsync();
            await Task.WhenAll(senders.Select(sender => sender.Ended));
        }
    }

    private static async Task<Socket> ConnectAsync(IPEndPoint endpoint, CancellationToken token)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(endpoint, token);
        return socket;
    }

    private static async Task EchoAsync(Socket socket, CancellationToken token)
    {
        var answer = new byte[1];
        await socket.SendAsync("x"u8.ToArray(), token);
        Assert.That(await socket.ReceiveAsync(answer, token), Is.EqualTo(1));
    }

    /// <summary>Sends without an end, and counts.</summary>
    private sealed class Sender
    {
        private long _bytes;

        public Sender(IPEndPoint endpoint, CancellationToken token) => Ended = SendAsync(endpoint, token);

        public long Bytes => Volatile.Read(ref _bytes);

        /// <summary>Ends when its token is cancelled.</summary>
        public Task Ended { get; }

        private async Task SendAsync(IPEndPoint endpoint, CancellationToken token)
        {
            var piece = new byte[64 << 10];
            using Socket socket = await ConnectAsync(endpoint, token);
            try
            {
                while (true)
                    Interlocked.Add(ref _bytes, await socket.SendAsync(piece, token));
            }
            catch (OperationCanceledException)
            {
            }
        }
    }
}
