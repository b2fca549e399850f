using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Xfn.Core.Tests.Registry;

/// <summary>A request, as it arrived.</summary>
internal sealed record ServedRequest(string Method, string Target, IReadOnlyDictionary<string, string> Headers, string Body)
{
    public string Path => Target.Split('?')[0];

    public string? this[string header] => Headers.GetValueOrDefault(header);
}

/// <summary>What is written in answer, byte by byte if need be.</summary>
internal sealed class ServedResponse(Stream stream, bool hasBody)
{
    public bool Close { get; set; }

    public async Task RawAsync(string text) => await RawAsync(Encoding.Latin1.GetBytes(text));

    public async Task RawAsync(byte[] bytes)
    {
        await stream.WriteAsync(bytes);
        await stream.FlushAsync();
    }

    /// <summary>
    /// Sends an answer as HTTP has it: to HEAD without the body that its length speaks of, which would be taken for the
    /// next answer on this connection.
    /// </summary>
    public async Task SendAsync(int status, byte[]? body = null, params string[] headers)
    {
        body ??= [];
        await RawAsync($"HTTP/1.1 {status} Whatever\r\nContent-Length: {body.Length}\r\n{string.Concat(headers.Select(h => h + "\r\n"))}\r\n");
        if (hasBody)
            await RawAsync(body);
    }

    /// <summary>Breaks the connection off.</summary>
    public Task ResetAsync()
    {
        Close = true;
        Reset((NetworkStream)stream);
        return Task.CompletedTask;
    }

    /// <summary>Has the kernel answer with a reset: disposing of the stream first would say good-bye before.</summary>
    public static void Reset(NetworkStream stream)
    {
        stream.Socket.LingerState = new LingerOption(true, 0);
        stream.Socket.Dispose();
    }

    public Task SendAsync(int status, string body, params string[] headers) => SendAsync(status, Encoding.UTF8.GetBytes(body), headers);
}

/// <summary>An HTTP server on loopback that does exactly what a test says, right or wrong.</summary>
internal sealed class FaultyServer : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Func<ServedRequest, ServedResponse, Task> _handle;
    private readonly X509Certificate2? _certificate;
    private readonly CancellationTokenSource _stopped = new();
    private readonly ConcurrentBag<TcpClient> _clients = [];

    public FaultyServer(Func<ServedRequest, ServedResponse, Task> handle, X509Certificate2? certificate = null)
    {
        (_handle, _certificate) = (handle, certificate);
        _listener.Start();
        _ = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public string Host => $"127.0.0.1:{Port}";

    public ConcurrentQueue<ServedRequest> Requests { get; } = [];

    public int Connections => _clients.Count;

    /// <summary>What a server that speaks TLS does to who does not, before it closes the connection.</summary>
    public Func<NetworkStream, Task>? OnPlain { get; init; }

    /// <summary>Decides on clients' certificates, which are asked for then; null when one has none.</summary>
    public Func<X509Certificate?, bool>? OnClient { get; init; }

    public void Dispose()
    {
        _stopped.Cancel();
        _listener.Stop();
        foreach (TcpClient client in _clients)
            client.Dispose();
        _stopped.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                TcpClient client = await _listener.AcceptTcpClientAsync(_stopped.Token);
                _clients.Add(client);
                _ = Task.Run(() => ServeAsync(client));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        try
        {
            client.NoDelay = true;
            Stream stream = client.GetStream();
            if (OnPlain is not null && await IsPlainAsync(client))
            {
                await OnPlain(client.GetStream());
                client.Dispose();
                return;
            }

            if (_certificate is not null)
            {
                var tls = new SslStream(stream, leaveInnerStreamOpen: false, (_, shown, _, _) => OnClient is null || OnClient(shown));
                await tls.AuthenticateAsServerAsync(_certificate, clientCertificateRequired: OnClient is not null, checkCertificateRevocation: false);
                stream = tls;
            }

            while (await ReadAsync(stream) is { } request)
            {
                Requests.Enqueue(request);
                var response = new ServedResponse(stream, request.Method != "HEAD");
                await _handle(request, response);
                if (response.Close)
                    break;
            }

            client.Dispose();
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or AuthenticationException or OperationCanceledException)
        {
            // The client went away, as it may.
            client.Dispose();
        }
    }

    private static async Task<bool> IsPlainAsync(TcpClient client)
    {
        byte[] first = new byte[1];
        return await client.Client.ReceiveAsync(first, SocketFlags.Peek) == 1 && first[0] != 0x16;
    }

    private static async Task<ServedRequest?> ReadAsync(Stream stream)
    {
        var head = new StringBuilder();
        byte[] one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            if (await stream.ReadAsync(one) == 0)
                return null;
            if (head.Append((char)one[0]).Length == 1 && one[0] is 0x16)
                throw new IOException("a TLS handshake, which is not spoken here");
        }

        string[] lines = head.ToString().Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        string[] start = lines[0].Split(' ');
        Dictionary<string, string> headers = lines.Skip(1).Select(l => l.Split(": ", 2)).GroupBy(l => l[0], StringComparer.OrdinalIgnoreCase)
            .ToDictionary(g => g.Key, g => string.Join(", ", g.Select(l => l[1])), StringComparer.OrdinalIgnoreCase);
        byte[] body = new byte[int.Parse(headers.GetValueOrDefault("Content-Length", "0"), null)];
        await stream.ReadExactlyAsync(body);
        return new ServedRequest(start[0], start[1], headers, Encoding.UTF8.GetString(body));
    }
}
