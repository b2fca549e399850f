using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Registry;

/// <summary>Resolves names and connects: what tests replace to have names and addresses of their own.</summary>
internal class Dialer
{
    /// <summary>A host's addresses.</summary>
    public virtual Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken) => Dns.GetHostAddressesAsync(host, cancellationToken);

    /// <summary>A connection to the first of the addresses that answers.</summary>
    public virtual async Task<(Stream Stream, IPAddress Address)> ConnectAsync(IPAddress[] addresses, int port, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(addresses, port, cancellationToken).ConfigureAwait(false);
            return (new NetworkStream(socket, ownsSocket: true), ((IPEndPoint)socket.RemoteEndPoint!).Address);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
