using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Server;

/// <summary>Sets up Kestrel: the address, who may connect, and what one connection may take.</summary>
internal static class KestrelSetup
{
    /// <summary>What a socket's file lets its owner do, and nobody else.</summary>
    private const UnixFileMode OnlyOwner = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>How many bytes are read from a connection before the others have their turn. With Kestrel's 1 MiB, more
    /// than a connection may send before it is counted, a call waits behind all that the others sent.</summary>
    private const long TurnBytes = BlockPool.BlockBytes;

    public static void Configure(KestrelServerOptions kestrel, ListenAddress address, ContainerRunnerServerOptions options, RequestPolicy policy, TlsSetup? tls)
    {
        kestrel.AddServerHeader = false;
        KestrelServerLimits limits = kestrel.Limits;
        limits.MaxConcurrentConnections = options.MaxConnections;
        limits.MaxRequestHeadersTotalSize = 16 << 10;
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);

        // gRPC's own limit has an answer that names it; this one cuts off who goes on regardless.
        limits.MaxRequestBodySize = policy.MaxInputBytes + (1 << 20);

        // A caller that is gone without a word is found out, and its function killed.
        limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(15);
        limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(15);
        limits.Http2.MaxStreamsPerConnection = 100;

        // What a connection may send before it is counted.
        limits.Http2.InitialStreamWindowSize = 256 << 10;
        limits.Http2.InitialConnectionWindowSize = 512 << 10;

        // That of ASP.NET Core ends a connection with all its calls; ours, the one call that stalls.
        limits.MinRequestBodyDataRate = null;

        kestrel.Listen(address.EndPoint, listen =>
        {
            listen.Protocols = HttpProtocols.Http2;
            LingeringClose.Use(listen);
            if (address.IsUnix)
                CheckPeers(listen, options);
            if (tls is not null)
                listen.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = _ => ValueTask.FromResult(tls.Current()), HandshakeTimeout = TlsSetup.HandshakeTimeout });
        });
    }

    public static void Configure(SocketTransportOptions transport)
    {
        transport.CreateBoundListenSocket = Bind;
        transport.MaxReadBufferSize = TurnBytes;
    }

    /// <summary>A socket that only its owner may use from the moment it has a name.</summary>
    public static Socket Bind(System.Net.EndPoint endPoint)
    {
        if (endPoint is not UnixDomainSocketEndPoint)
            return SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // The kernel gives the file the socket's mode. Set later, it would be open to others for a moment.
            using var file = new SafeFileHandle(socket.Handle, ownsHandle: false);
            File.SetUnixFileMode(file, OnlyOwner);
            socket.Bind(endPoint);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static void CheckPeers(ListenOptions listen, ContainerRunnerServerOptions options)
    {
        var check = new PeerCheck(options.AllowedUids, options.RequireOwnUserNamespace);
        listen.Use(next => async connection =>
        {
            Socket socket = connection.Features.Get<IConnectionSocketFeature>()!.Socket;
            if (check.Refuse(socket) is { } reason)
            {
                // Nothing has been read of it.
                ServerLog.ConnectionRefused(options.Logger, reason);
                connection.Abort(new ConnectionAbortedException(reason));
                return;
            }

            await next(connection).ConfigureAwait(false);
        });
    }
}
