using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Xfn.Core.Egress;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Egress;

/// <summary>A proxy that listens on loopback in a container's place. Whatever address it connects to, its connection
/// goes to one port on loopback.</summary>
internal sealed class TestEgress : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly EgressProxy _proxy;
    private readonly Task _serving;

    public TestEgress(int port, string[] rules, TimeProvider? time = null, string? linkTo = null)
    {
        Dialer = new NamedDialer(port);
        _proxy = new EgressProxy(new TestConnector(EgressPolicy.Parse(rules), Dialer), "c", Log, time ?? TimeProvider.System);
        Socket listener = Listen();
        Address = (IPEndPoint)listener.LocalEndPoint!;
        _serving = linkTo is null ? _proxy.ServeAsync(listener, _stop.Token) : _proxy.LinkAsync(listener, EgressTarget.TryParse(linkTo, 0, out _)!, _stop.Token);
    }

    public NamedDialer Dialer { get; }

    public LogCollector Log { get; } = new();

    public IPEndPoint Address { get; }

    public static Socket Listen()
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(512);
        return listener;
    }

    public async Task<Socket> ConnectAsync(CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(Address, cancellationToken);
        return socket;
    }

    /// <summary>Sends bytes, and reads until the proxy ends the connection.</summary>
    public async Task<byte[]> AskAsync(byte[] request, CancellationToken cancellationToken)
    {
        using Socket socket = await ConnectAsync(cancellationToken);
        await socket.SendAsync(request, cancellationToken);
        return await socket.ReadToEndAsync(cancellationToken);
    }

    public async Task<string> AskAsync(string request, CancellationToken cancellationToken) =>
        Encoding.Latin1.GetString(await AskAsync(Encoding.Latin1.GetBytes(request), cancellationToken));

    /// <summary>A connection that leads to a host.</summary>
    public async Task<Socket> TunnelAsync(string target, CancellationToken cancellationToken)
    {
        Socket socket = await ConnectAsync(cancellationToken);
        await socket.SendAsync(Encoding.ASCII.GetBytes($"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"), cancellationToken);
        Assert.That(await socket.ReadHeadAsync(cancellationToken), Is.EqualTo("HTTP/1.1 200 Connection established\r\n\r\n"));
        return socket;
    }

    /// <summary>Ends the proxy, as the end of a container does.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _serving;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _proxy.Dispose();
        _stop.Dispose();
        Assert.That(Log.Lines, Has.None.StartsWith("Error"));
    }

    /// <summary>On a machine that has 203.0.113.99.</summary>
    private sealed class TestConnector(EgressPolicy policy, Dialer dialer) : EgressConnector(policy, dialer, TimeProvider.System)
    {
        protected override IEnumerable<IPAddress> FindOwn() => [IPAddress.Parse("203.0.113.99")];
    }
}

/// <summary>Names with addresses of the test's choice, all of which are one port on loopback.</summary>
internal sealed class NamedDialer(int port) : Dialer
{
    /// <summary>Addresses of names, with blanks between.</summary>
    public Dictionary<string, string> Names { get; } = new() { ["a.test"] = "203.0.113.5" };

    public Func<Task> Resolving { get; set; } = () => Task.CompletedTask;

    public ConcurrentQueue<string> LookedUp { get; } = [];

    public ConcurrentQueue<string> Connected { get; } = [];

    public override async Task<(Stream Stream, IPAddress Address)> ConnectAsync(IPAddress[] addresses, int to, CancellationToken cancellationToken)
    {
        Connected.Enqueue($"{string.Join(' ', addresses.Select(a => a.ToString()))} port {to}");
        return await base.ConnectAsync([IPAddress.Loopback], port, cancellationToken);
    }

    protected override async Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken)
    {
        LookedUp.Enqueue(host);
        await Resolving();
        return Names.TryGetValue(host, out string? addresses) ? [.. addresses.Split(' ').Select(IPAddress.Parse)] : throw new SocketException((int)SocketError.HostNotFound);
    }
}

/// <summary>A server on loopback that does to each connection what a test says.</summary>
internal sealed class TestUpstream : IDisposable
{
    private readonly Socket _listener = TestEgress.Listen();
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentBag<Socket> _clients = [];

    public TestUpstream(Func<Socket, CancellationToken, Task> serve) => _ = AcceptAsync(serve);

    public int Port => ((IPEndPoint)_listener.LocalEndPoint!).Port;

    /// <summary>Sends back what comes, to its end.</summary>
    public static TestUpstream Echo() => new((client, token) => SocketRelay.PassAsync(client, client, () => { }, token));

    /// <summary>Keeps all that comes to its end, then answers.</summary>
    public static TestUpstream Keeping(ConcurrentQueue<string> kept, string answer) => new(async (client, token) =>
    {
        kept.Enqueue(Encoding.Latin1.GetString(await client.ReadToEndAsync(token)));
        await client.SendAsync(Encoding.Latin1.GetBytes(answer), token);
    });

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        foreach (Socket client in _clients)
            client.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync(Func<Socket, CancellationToken, Task> serve)
    {
        try
        {
            while (true)
            {
                Socket client = await _listener.AcceptAsync(_stop.Token);
                _clients.Add(client);
                _ = Task.Run(async () =>
                {
                    using (client)
                        await serve(client, _stop.Token);
                });
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }
}

internal static class SocketReading
{
    public static async Task<byte[]> ReadToEndAsync(this Socket socket, CancellationToken cancellationToken)
    {
        var all = new MemoryStream();
        byte[] buffer = new byte[64 * 1024];
        while (await socket.ReceiveAsync(buffer, cancellationToken) is var count and > 0)
            all.Write(buffer, 0, count);
        return all.ToArray();
    }

    public static async Task<byte[]> ReadAsync(this Socket socket, int count, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[count];
        using var stream = new NetworkStream(socket, ownsSocket: false);
        await stream.ReadExactlyAsync(buffer, cancellationToken);
        return buffer;
    }

    /// <summary>The head of an HTTP message, and nothing behind it.</summary>
    public static async Task<string> ReadHeadAsync(this Socket socket, CancellationToken cancellationToken)
    {
        var head = new StringBuilder();
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
            head.Append((char)(await socket.ReadAsync(1, cancellationToken))[0]);
        return head.ToString();
    }
}
