using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>A wire to a server that can be cut: connections are passed on until then.</summary>
internal sealed class Wire : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly IPEndPoint _server;
    private readonly List<Socket> _sockets = [];
    private readonly Task _accepting;
    private bool _isCut;

    public Wire(ContainerRunnerServer server)
    {
        _server = IPEndPoint.Parse(server.Address);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public string Address => $"http://{_listener.LocalEndpoint}";

    /// <summary>Breaks all connections, and takes no more.</summary>
    public void Cut()
    {
        _listener.Stop();
        lock (_sockets)
        {
            _isCut = true;
            foreach (Socket socket in _sockets)
                socket.Close(0);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Cut();
        await _accepting;
        _listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket near = Keep(await _listener.AcceptSocketAsync()), far = Keep(new Socket(SocketType.Stream, ProtocolType.Tcp));
                await far.ConnectAsync(_server);
                _ = PassAsync(near, far);
                _ = PassAsync(far, near);
            }
        }
        catch (Exception ex) when (ex is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // It was cut, before it listened for the next or while it did.
        }
    }

    /// <summary>Remembers what is to be closed, or closes it where the wire is cut already.</summary>
    private Socket Keep(Socket socket)
    {
        lock (_sockets)
        {
            if (_isCut)
                socket.Close(0);
            _sockets.Add(socket);
        }

        return socket;
    }

    private static async Task PassAsync(Socket from, Socket to)
    {
        var buffer = new byte[64 << 10];
        try
        {
            for (int count; (count = await from.ReceiveAsync(buffer)) > 0;)
                await to.SendAsync(buffer.AsMemory(0, count));
            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception ex) when (ex is SocketException or ObjectDisposedException)
        {
            // It was cut, or one end has gone.
        }
    }
}
