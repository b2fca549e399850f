using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Registry;

/// <summary>Resolves names and connects: what tests replace to have names and addresses of their own.</summary>
internal class Dialer
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(250);

    /// <summary>The addresses to reach a host at. Of <c>localhost</c>, which is trusted by its name to be spoken to in
    /// the clear, only those that are what the name says.</summary>
    public async Task<IPAddress[]> FindAsync(string host, CancellationToken cancellationToken)
    {
        IPAddress[] addresses = await ResolveAsync(host, cancellationToken).ConfigureAwait(false);
        return host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? [.. addresses.Where(IPAddress.IsLoopback)] : addresses;
    }

    protected virtual Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken) => Dns.GetHostAddressesAsync(host, cancellationToken);

    /// <summary>Connects to the address that answers first. A silent one delays the next for a moment only, because a
    /// machine may have an IPv6 address and no way to others.</summary>
    /// <remarks><see href="https://www.rfc-editor.org/rfc/rfc8305#section-5">RFC 8305, section 5</see>.</remarks>
    public virtual async Task<(Stream Stream, IPAddress Address)> ConnectAsync(IPAddress[] addresses, int port, CancellationToken cancellationToken)
    {
        using var race = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var going = new Dictionary<Task<Stream>, IPAddress>();
        try
        {
            Exception failure = new SocketException((int)SocketError.HostNotFound);
            for (int next = 0; next < addresses.Length || going.Count > 0;)
            {
                if (next < addresses.Length)
                {
                    going.Add(ConnectAsync(addresses[next], port, race.Token), addresses[next]);
                    next++;
                }

                Task pause = Task.Delay(next < addresses.Length ? Patience : Timeout.InfiniteTimeSpan, race.Token);
                if (await Task.WhenAny([.. going.Keys, pause]).ConfigureAwait(false) is not Task<Stream> done)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    continue;
                }

                going.Remove(done, out IPAddress? address);
                try
                {
                    return (await done.ConfigureAwait(false), address!);
                }
                catch (SocketException e)
                {
                    failure = e;
                }
            }

            throw failure;
        }
        finally
        {
            await race.CancelAsync().ConfigureAwait(false);
            foreach (Task<Stream> late in going.Keys)
                _ = CloseAsync(late);
        }
    }

    private static async Task CloseAsync(Task<Stream> late)
    {
        try
        {
            await (await late.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // As it should be: another was first.
        }
    }

    protected virtual async Task<Stream> ConnectAsync(IPAddress address, int port, CancellationToken cancellationToken)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address, port, cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
