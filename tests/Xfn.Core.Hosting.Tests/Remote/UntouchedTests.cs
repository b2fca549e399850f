using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>Servers that say that they have not looked at a request: it was sent, and is not lost.</summary>
internal sealed class UntouchedTests : ServedFixture
{
    private const byte RstStream = 3, Settings = 4, Ping = 6, GoAway = 7;

    [TestCase("GOAWAY", 0, Description = "NO_ERROR")]
    [TestCase("GOAWAY", 11, Description = "ENHANCE_YOUR_CALM")]
    [TestCase("RST_STREAM", 7, Description = "REFUSED_STREAM")]
    [TestCase("RST_STREAM", 11, Description = "ENHANCE_YOUR_CALM")]
    [CancelAfter(60_000)]
    public async Task A_run_that_a_server_has_not_looked_at_is_offered_again(string how, int error, CancellationToken token)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        RemoteContainerRunner remote = Call($"http://{listener.LocalEndpoint}", o => o.MaxAttempts = 2);
        Task<RunFunctionResponse> run = remote.RunFunctionAsync(Request(), token);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(token);
        var connections = new List<Task<int>>();
        Task accepting = Task.Run(
            async () =>
            {
                while (true)
                    connections.Add(RefuseAsync(await listener.AcceptSocketAsync(end.Token), how, error, end.Token));
            },
            token);
        ServerUnavailableException refused = await Assert.ThrowsAsync<ServerUnavailableException>(() => run);
        await end.CancelAsync();
        await accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        int requests = (await Task.WhenAll(connections)).Sum();
        Assert.That((refused.MayHaveStarted, requests >= 2), Is.EqualTo((false, true)), refused.Message);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_whose_connection_is_not_made_in_time_was_not_started(CancellationToken token)
    {
        // It takes connections, and never answers to TLS.
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        RemoteContainerRunner remote = Call($"https://{listener.LocalEndpoint}", o => (o.MaxAttempts, o.ConnectTimeout) = (1, TimeSpan.FromSeconds(2)));
        ServerUnavailableException late = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That(late.MayHaveStarted, Is.False, late.Message);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_stops_takes_what_a_client_sends_that_has_not_read_so_yet(CancellationToken token)
    {
        while (!await TakesAsync())
        {
            // It waits for a second, and this machine was as slow as that.
        }

        async Task<bool> TakesAsync()
        {
            ContainerRunnerServer server = await ServeAsync(new StubRunner());
            using var client = new TcpClient();
            await client.ConnectAsync(IPEndPoint.Parse(server.Address), token);
            NetworkStream stream = client.GetStream();
            await stream.WriteAsync((byte[])[.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, .. Frame(Settings, 0, 0)], token);
            while (await ReadFrameAsync(stream, token) != (Settings, 1))
            {
                // The server's own settings.
            }

            long asked = Stopwatch.GetTimestamp();
            Task stop = server.StopAsync(token);
            int farewell = Frame(GoAway, 0, 0, 0, 0).Length;
            while (client.Available < farewell)
                await Task.Delay(5, token);
            try
            {
                // Into a closed socket the second or third of them cannot be written.
                for (int i = 0; i < 8; i++)
                {
                    await stream.WriteAsync(Frame(Ping, 0, 0, 1, 2), token);
                    await Task.Delay(5, token);
                }

                Assert.That(await ReadFrameAsync(stream, token), Is.EqualTo((GoAway, 0)));
            }
            catch (IOException) when (Stopwatch.GetElapsedTime(asked) > TimeSpan.FromSeconds(0.9))
            {
                return false;
            }

            client.Close();
            await stop;
            return true;
        }
    }

    /// <summary>Takes requests of a connection and refuses each when all of it has come.</summary>
    /// <returns>How many there were.</returns>
    private static async Task<int> RefuseAsync(Socket connection, string how, int error, CancellationToken token)
    {
        int requests = 0;
        try
        {
            await using var stream = new NetworkStream(connection, ownsSocket: true);
            await foreach (int id in RequestsAsync(stream, token))
            {
                // Of a second one on a connection that ends nothing is said any more.
                requests++;
                if (how == "RST_STREAM")
                    await stream.WriteAsync(Frame(RstStream, 0, id, error), token);
                else if (requests == 1)
                    await stream.WriteAsync(Frame(GoAway, 0, 0, 0, error), token);
            }
        }
        catch (Exception ex) when (ex is IOException or OperationCanceledException)
        {
            // The client has gone, or the test is over.
        }

        return requests;
    }

    /// <summary>The requests that have come whole.</summary>
    private static async IAsyncEnumerable<int> RequestsAsync(NetworkStream stream, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken token)
    {
        await stream.ReadExactlyAsync(new byte[24], token);
        await stream.WriteAsync(Frame(Settings, 0, 0), token);
        var header = new byte[9];
        while (await stream.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false, token) == header.Length)
        {
            await stream.ReadExactlyAsync(new byte[(header[0] << 16) | (header[1] << 8) | header[2]], token);
            (byte kind, byte flags) = (header[3], header[4]);
            if (kind == Settings && (flags & 1) == 0)
                await stream.WriteAsync(Frame(Settings, 1, 0), token);

            // END_STREAM, of HEADERS or DATA.
            if (kind <= 1 && (flags & 1) != 0)
                yield return System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(5));
        }
    }

    private static async Task<(byte Kind, byte Flags)> ReadFrameAsync(NetworkStream stream, CancellationToken token)
    {
        var header = new byte[9];
        await stream.ReadExactlyAsync(header, token);
        await stream.ReadExactlyAsync(new byte[(header[0] << 16) | (header[1] << 8) | header[2]], token);
        return (header[3], header[4]);
    }

    private static byte[] Frame(byte kind, byte flags, int stream, params int[] words)
    {
        var frame = new byte[9 + (4 * words.Length)];
        frame[2] = (byte)(4 * words.Length);
        (frame[3], frame[4]) = (kind, flags);
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), stream);
        for (int i = 0; i < words.Length; i++)
            System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(9 + (4 * i)), words[i]);
        return frame;
    }
}
