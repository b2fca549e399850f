using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Egress;

/// <summary>Sockets in a container's network. Its spark makes them there, and the host uses them like its own: address,
/// time-out and cancellation are the host's.</summary>
internal sealed class ContainerNetwork : IDisposable
{
    private const int Ipv4 = 2, Ipv6 = 10;

    // IPv4 before IPv6: most programs listen there, or on both.
    private static readonly IPAddress[] Loopbacks = [IPAddress.Loopback, IPAddress.IPv6Loopback];

    private readonly ConcurrentDictionary<ulong, byte> _listeners = new();
    private readonly SparkConversation _conversation;
    private readonly SparkDescriptors _descriptors;
    private readonly bool _isOwn;
    private readonly SocketStock _stock;

    /// <param name="conversation">What is asked of the spark.</param>
    /// <param name="descriptors">What is taken from it.</param>
    /// <param name="isOwn">Whether the network is the container's own; else it is this process's, and so are the
    /// sockets.</param>
    public ContainerNetwork(SparkConversation conversation, SparkDescriptors descriptors, bool isOwn)
    {
        (_conversation, _descriptors, _isOwn) = (conversation, descriptors, isOwn);
        _stock = new SocketStock(count => OpenAsync(new IPEndPoint(IPAddress.Loopback, 0), 0, count, CancellationToken.None));
    }

    /// <summary>The sockets that the runner has listen there, by inode: no program of the container's.</summary>
    public IReadOnlyCollection<ulong> Listeners => [.. _listeners.Keys];

    /// <summary>Connects to a port of the container's loopback.</summary>
    /// <exception cref="SocketException">It refuses, on both of its addresses.</exception>
    /// <exception cref="SparkGoneException">The container has ended.</exception>
    /// <exception cref="ContainerEnvironmentException">No socket can be had there.</exception>
    public async Task<Socket> ConnectAsync(int port, CancellationToken cancellationToken)
    {
        SocketException? refused = null;
        foreach (IPAddress address in Loopbacks)
        {
            Socket? socket = null;
            try
            {
                // After a failure .NET, like the kernel for some protocols, wants a new one.
                var endpoint = new IPEndPoint(address, port);
                SafeSocketHandle? handle = _isOwn ? await TakeAsync(endpoint, cancellationToken).ConfigureAwait(false) : null;
                bool isConnected = handle is not null && await TryConnectAsync(handle, endpoint, cancellationToken).ConfigureAwait(false);
                socket = handle is null ? new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) : new Socket(handle);
                socket.NoDelay = true;

                // Where it was refused, .NET has the words for that.
                if (!isConnected)
                    await socket.ConnectAsync(endpoint, cancellationToken).ConfigureAwait(false);
                return socket;
            }
            catch (SocketException ex)
            {
                socket?.Dispose();
                refused ??= ex;
            }
            catch (SparkFailedException ex) when (address == IPAddress.IPv6Loopback && ex.Failure.Errno == Libc.EAFNOSUPPORT)
            {
                // A kernel without IPv6: that IPv4 refused is all there is to say.
            }
            catch (SparkFailedException ex)
            {
                throw Refused(ex);
            }
            catch
            {
                socket?.Dispose();
                throw;
            }
        }

        throw refused!;
    }

    /// <summary>Makes a socket that listens in the container's network. Readiness does not count it.</summary>
    /// <exception cref="SparkFailedException">It cannot: EADDRINUSE where a program of the container's has the
    /// port.</exception>
    /// <inheritdoc cref="ConnectAsync" path="/exception[@cref != 'T:System.Net.Sockets.SocketException']"/>
    public async Task<Socket> ListenAsync(IPEndPoint endpoint, CancellationToken cancellationToken)
    {
        const int backlog = 128;
        var socket = new Socket((await OpenAsync(endpoint, backlog, 1, cancellationToken).ConfigureAwait(false))[0]);
        if (Posix.InodeOf(socket.SafeHandle) is { } inode)
            _listeners.TryAdd(inode, 0);
        return socket;
    }

    /// <summary>The error for a socket that could not be made.</summary>
    public static ContainerEnvironmentException Refused(SparkFailedException failure) => new(RunStage.Run, $"cannot make a socket in a container: {failure.Message}.", failure);

    /// <summary>Connects without .NET, which would be woken for all that happens to the socket from then on.</summary>
    /// <returns>Whether it is connected.</returns>
    private static async Task<bool> TryConnectAsync(SafeSocketHandle socket, IPEndPoint endpoint, CancellationToken cancellationToken)
    {
        try
        {
            // A loopback has answered when it is asked the second time.
            bool? isConnected = Posix.TryConnect(socket, endpoint) ?? Posix.TryConnect(socket, endpoint);
            while (isConnected is null)
            {
                await DescriptorEvents.WaitAsync(socket, DescriptorEvents.Writable, cancellationToken).ConfigureAwait(false);
                isConnected = Posix.TryConnect(socket, endpoint);
            }

            return isConnected.Value;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>A socket that can be connected. Few servers listen on IPv6 alone, so only IPv4's are kept.</summary>
    private async Task<SafeSocketHandle> TakeAsync(IPEndPoint endpoint, CancellationToken cancellationToken) => endpoint.AddressFamily == AddressFamily.InterNetwork
        ? await _stock.TakeAsync(cancellationToken).ConfigureAwait(false)
        : (await OpenAsync(endpoint, 0, 1, cancellationToken).ConfigureAwait(false))[0];

    private async Task<SafeSocketHandle[]> OpenAsync(IPEndPoint endpoint, int backlog, int count, CancellationToken cancellationToken)
    {
        int family = endpoint.AddressFamily == AddressFamily.InterNetwork ? Ipv4 : Ipv6;
        ReadOnlyMemory<byte> address = backlog == 0 ? default(ReadOnlyMemory<byte>) : endpoint.Address.GetAddressBytes();
        SparkOpened opened = await _conversation.AskAsync<SparkOpened>(
            id => new SparkMakeSocket(id, family, address, endpoint.Port, backlog, count), cancellationToken).ConfigureAwait(false);
        SafeFileHandle[] taken = await _descriptors.TakeAsync(opened.Descriptors, cancellationToken).ConfigureAwait(false);
        try
        {
            if (taken.Length != count)
                throw Odd("another number of sockets");
            foreach (SafeFileHandle descriptor in taken)
                Check(descriptor, endpoint.AddressFamily);
        }
        catch
        {
            foreach (SafeFileHandle descriptor in taken)
                descriptor.Dispose();
            throw;
        }

        return Array.ConvertAll(taken, descriptor =>
        {
            var socket = new SafeSocketHandle(descriptor.DangerousGetHandle(), ownsHandle: true);
            descriptor.SetHandleAsInvalid();
            return socket;
        });
    }

    /// <summary>What a spark hands out may be anything, if a program took it over: a socket of this machine's network
    /// would lend it the host's rights there.</summary>
    private void Check(SafeFileHandle descriptor, AddressFamily family)
    {
        try
        {
            using var looker = new SafeSocketHandle(descriptor.DangerousGetHandle(), ownsHandle: false);
            using var socket = new Socket(looker);
            if (socket.AddressFamily != family || socket.SocketType != SocketType.Stream || socket.ProtocolType != ProtocolType.Tcp)
                throw Odd($"a socket of {socket.AddressFamily}, {socket.SocketType}, {socket.ProtocolType}");
            if (socket.Connected || socket.RemoteEndPoint is not null)
                throw Odd("a socket that is connected");
            if (_isOwn && NetworkCookies.IsOurs(socket))
                throw Odd("a socket of the machine's network");
        }
        catch (SocketException)
        {
            throw Odd("no socket");
        }
    }

    /// <summary>Closes what is kept for further connections.</summary>
    public void Dispose() => _stock.Dispose();

    private static ContainerEnvironmentException Odd(string found) => new(RunStage.Run, $"cannot use what xfn-spark handed over: it is {found}. Stop the container: it may have taken over its xfn-spark.");
}

/// <summary>Tells the machine's network from a container's.</summary>
internal static class NetworkCookies
{
    private const int SocketLevel = 1, NamespaceCookie = 71;

    private static readonly Lazy<ulong?> Ours = new(() =>
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        return CookieOf(socket);
    });

    /// <summary>Whether a socket is in this process's network namespace.</summary>
    public static bool IsOurs(Socket socket) =>
        Ours.Value is { } ours && CookieOf(socket) is { } cookie ? cookie == ours : Posix.NetworkOf(socket.SafeHandle) is not { } network || network == Posix.IdentityOf("/proc/self/ns/net");

    /// <returns>Null before Linux 5.14.</returns>
    private static ulong? CookieOf(Socket socket)
    {
        Span<byte> cookie = stackalloc byte[sizeof(ulong)];
        try
        {
            socket.GetRawSocketOption(SocketLevel, NamespaceCookie, cookie);
            return BitConverter.ToUInt64(cookie);
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
