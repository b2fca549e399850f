using System.Net.Sockets;

namespace Xfn.Core.Services;

/// <summary>A connection into a container, as its caller has it.</summary>
/// <param name="socket">The connection, which this closes.</param>
/// <param name="handedOut">Where it is noted until it is disposed.</param>
internal sealed class ContainerStream(Socket socket, HandedOut handedOut) : NetworkStream(socket, ownsSocket: true)
{
    /// <summary>Ends both directions: reads come to their end, and writes fail. The caller disposes it, as
    /// ever.</summary>
    public void ShutDown()
    {
        try
        {
            Socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception ex) when (ex is SocketException or ObjectDisposedException)
        {
            // It has ended already.
        }
    }

    /// <inheritdoc cref="ShutDown"/>
    public ValueTask ShutDownAsync()
    {
        ShutDown();
        return ValueTask.CompletedTask;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            handedOut.Remove(this);
        base.Dispose(disposing);
    }
}
