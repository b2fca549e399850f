using System.Collections.Concurrent;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Xfn.Core.Registry;
using Xfn.Core.Spark;

namespace Xfn.Core.Egress;

/// <summary>Connects to what a container's policy lists, with this machine's rights.</summary>
/// <remarks>A name is looked up here, once for each connection. Those of its addresses that are public and not this
/// machine's, or are listed by number, are connected to as they are: a name that changes its meaning gains
/// nothing.</remarks>
internal class EgressConnector(EgressPolicy policy, Dialer dialer, TimeProvider time)
{
    /// <summary>How many look-ups go on at once: each may hold a thread of the C library's, or of .NET's.</summary>
    private const int MaxLookups = 8;

    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan OwnAddressesTime = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private readonly ConcurrentDictionary<EgressTarget, Func<CancellationToken, Task<Socket>>> _links = new();
    private HashSet<IPAddress> _own = [];
    private long _ownSince;

    /// <summary>Without a wait handle it has nothing to dispose of, and look-ups may outlast the container.</summary>
    private SemaphoreSlim Lookups { get; } = new(MaxLookups);

    /// <summary>Has a name and port lead to another container, whatever the policy says: programs that heed a proxy ask
    /// it for all names that they are not told to except.</summary>
    public void AddLink(EgressTarget target, Func<CancellationToken, Task<Socket>> connect) => _links[target] = connect;

    /// <summary>The connection, or why there is none.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task<(NetworkStream? Stream, EgressRefusal? Refusal)> ConnectAsync(EgressTarget target, CancellationToken cancellationToken)
    {
        if (_links.TryGetValue(target, out Func<CancellationToken, Task<Socket>>? link))
            return await FollowAsync(target, link, cancellationToken).ConfigureAwait(false);
        if (!policy.Lists(target))
            return (null, new EgressRefusal(EgressRefusalKind.NotAllowed, $"cannot connect to '{target}': the container's egress does not list it."));

        using var timeout = new CancellationTokenSource(ConnectTime, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timeout.Token);
        try
        {
            IPAddress[] found = target.Address is { } address ? [address] : await FindAsync(target.Name, linked.Token).ConfigureAwait(false);
            IPAddress[] allowed = [.. found.Select(a => a.IsIPv4MappedToIPv6 ? a.MapToIPv4() : a).Distinct().Where(a => IsAllowed(a, target.Port))];
            if (allowed.Length == 0)
                return (null, found.Length == 0 ? NoSuchHost(target) : NotPublic(target, found));

            (Stream stream, _) = await dialer.ConnectAsync(allowed, target.Port, linked.Token).ConfigureAwait(false);
            var connection = (NetworkStream)stream;
            KeepAlive(connection.Socket);
            return (connection, null);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.HostNotFound or SocketError.NoData or SocketError.TryAgain or SocketError.NoRecovery)
        {
            return (null, NoSuchHost(target));
        }
        catch (SocketException e)
        {
            return (null, new EgressRefusal(EgressRefusalKind.NoConnection, $"cannot connect to '{target}': {Words(e.SocketErrorCode)}."));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (null, new EgressRefusal(EgressRefusalKind.NoAnswer, $"cannot connect to '{target}': no answer within {ConnectTime.TotalSeconds:0} seconds."));
        }
    }

    private static async Task<(NetworkStream? Stream, EgressRefusal? Refusal)> FollowAsync(EgressTarget target, Func<CancellationToken, Task<Socket>> link, CancellationToken cancellationToken)
    {
        try
        {
            return (new NetworkStream(await link(cancellationToken).ConfigureAwait(false), ownsSocket: true), null);
        }
        catch (Exception e) when (e is SocketException or XfnException or SparkGoneException)
        {
            return (null, new EgressRefusal(EgressRefusalKind.NoConnection, $"cannot connect to '{target}': the container that it is linked to refuses, or has ended."));
        }
    }

    /// <summary>The addresses of this machine's interfaces.</summary>
    protected virtual IEnumerable<IPAddress> FindOwn() =>
        NetworkInterface.GetAllNetworkInterfaces().SelectMany(i => i.GetIPProperties().UnicastAddresses).Select(a => a.Address);

    private static EgressRefusal NoSuchHost(EgressTarget target) =>
        new(EgressRefusalKind.NoSuchHost, $"cannot connect to '{target}': no address was found for the name.");

    private static EgressRefusal NotPublic(EgressTarget target, IPAddress[] found) => new(
        EgressRefusalKind.NotAllowed,
        $"cannot connect to '{target}': its address is not public, or this machine's own. List the address by its number too.",
        "The address is " + string.Join(", ", found.Take(3).Select(a => a.ToString())) + (found.Length > 3 ? ", …" : ""));

    private static string Words(SocketError error) => error switch
    {
        SocketError.ConnectionRefused => "the connection was refused",
        SocketError.NetworkUnreachable or SocketError.HostUnreachable or SocketError.AddressFamilyNotSupported => "there is no way to it",
        SocketError.TimedOut => "no answer",
        _ => "the connection failed",
    };

    /// <summary>A peer that is gone without a word is found after two minutes, and gives its place back.</summary>
    private static void KeepAlive(Socket socket)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 60);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 15);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 4);
    }

    private bool IsAllowed(IPAddress address, int port) =>
        policy.Lists(EgressTarget.Of(address, port)) || (AddressClasses.Of(address) == AddressClass.Public && !IsOwn(AddressClasses.Embedded(address) ?? address));

    /// <summary>Whether an address is this machine's. A public one leads to services that trust their neighbours as
    /// much as loopback does.</summary>
    private bool IsOwn(IPAddress address)
    {
        lock (_lock)
        {
            if (_ownSince == 0 || time.GetElapsedTime(_ownSince) > OwnAddressesTime)
                (_own, _ownSince) = ([.. FindOwn()], time.GetTimestamp());
            return _own.Contains(address);
        }
    }

    private async Task<IPAddress[]> FindAsync(string name, CancellationToken cancellationToken)
    {
        await Lookups.WaitAsync(cancellationToken).ConfigureAwait(false);

        // One that is given up goes on, and counts until it ends.
        return await LookUpAsync(name).WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task<IPAddress[]> LookUpAsync(string name)
    {
        try
        {
            return await dialer.FindAsync(name, CancellationToken.None).ConfigureAwait(false);
        }
        finally
        {
            Lookups.Release();
        }
    }
}
