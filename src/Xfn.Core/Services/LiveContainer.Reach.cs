using System.Net;
using System.Net.Sockets;
using Xfn.Core.Egress;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <content>Connections into the container, and links to others.</content>
internal sealed partial class LiveContainer
{
    public override async Task<Stream> ConnectAsync(int port, CancellationToken cancellationToken = default)
    {
        Ready.CheckPort(port);
        try
        {
            return Hand(await WhileItLivesAsync($"connect to port {port}", () => _network.ConnectAsync(port, cancellationToken)).ConfigureAwait(false));
        }
        catch (SocketException ex)
        {
            IReadOnlyCollection<int> ports = HasOwnNetwork ? ListeningPorts() : [];
            throw new IOException(
                $"cannot connect to port {port} of a container of image '{Image}': {ex.Message}.{(ports.Count > 0 && !ports.Contains(port) ? $" It listens on {string.Join(", ", ports)}." : "")}", ex);
        }
    }

    public override async Task<IPEndPoint> ForwardAsync(int port, int hostPort = 0, CancellationToken cancellationToken = default)
    {
        Ready.CheckPort(port);
        if (hostPort is < 0 or > ushort.MaxValue)
            throw new ArgumentOutOfRangeException(nameof(hostPort), $"cannot use port '{hostPort}': expected 0 to {ushort.MaxValue}.");
        await WaitUntilListensAsync(port, cancellationToken).ConfigureAwait(false);
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            listener.Bind(new IPEndPoint(IPAddress.Loopback, hostPort));
            listener.Listen();
        }
        catch (SocketException ex)
        {
            listener.Dispose();
            throw new IOException($"cannot forward port {hostPort} of this machine to a container of image '{Image}': {ex.Message}. Choose another, or 0 for one that is free.", ex);
        }

        var endpoint = (IPEndPoint)listener.LocalEndPoint!;
        await OwnAsync(new RelayListener(listener, token => _network.ConnectAsync(port, token), () => _hasExited, $"port {port} of image {Image}", _logger), $"forward port {port}").ConfigureAwait(false);
        return endpoint;
    }

    public override async Task LinkAsync(string name, int port, RunningContainer target, int? targetPort = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(target);
        Ready.CheckPort(port);
        int there = Ready.CheckPort(targetPort ?? port);
        if (target is not LiveContainer other)
            throw new ArgumentException("cannot link to a container that no runner of this process has started.", nameof(target));
        if (name.Length is 0 or > 253 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.'))
            throw new InvalidRequestException($"cannot use name '{name}' for a link: expected letters, digits, hyphens and dots.");
        string what = $"link '{name}:{port}'";
        if (!HasOwnNetwork)
            throw new InvalidRequestException($"cannot {what} in a container of image '{Image}': it is in the runner's network. Give it a network of its own.");
        if (other._hasExited)
            throw await other.EndedAsync($"be the target of {what}").ConfigureAwait(false);
        RelayListener? listener = null;
        try
        {
            listener = await ListenForAsync(what, port, other, there, cancellationToken).ConfigureAwait(false);
            await AddHostsAsync(what, name, cancellationToken).ConfigureAwait(false);
            _started.Egress?.AddLink(name, port, token => other._network.ConnectAsync(there, token));
        }
        catch (Exception) when (listener is not null)
        {
            // Without its name it is of no use, and would only take the port.
            _handedOut.Remove(listener);
            _links.TryRemove(port, out _);
            await listener.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task AddHostsAsync(string what, string name, CancellationToken cancellationToken)
    {
        try
        {
            await WhileItLivesAsync(what, () => _started.Conversation.AskAsync<SparkDone>(id => new SparkAddHosts(id, $"{IPAddress.Loopback} {name}"), cancellationToken)).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw new InvalidRequestException($"cannot {what} in a container of image '{Image}': {ex.Message}.", ex);
        }
    }

    /// <summary>Keeps something that ends with the container, before its program is asked to end.</summary>
    /// <param name="owned">It.</param>
    /// <param name="what">What it is for, where the container has ended by now.</param>
    public async Task OwnAsync(IAsyncDisposable owned, string what)
    {
        if (_handedOut.TryAdd(owned, owned.DisposeAsync))
            return;
        await owned.DisposeAsync().ConfigureAwait(false);
        throw await EndedAsync(what).ConfigureAwait(false);
    }

    /// <summary>Gives a connection away, to be shut down when the container is stopped.</summary>
    private ContainerStream Hand(Socket socket)
    {
        var stream = new ContainerStream(socket, _handedOut);
        if (!_handedOut.TryAdd(stream, stream.ShutDownAsync))
            stream.ShutDown();
        return stream;
    }

    private async Task<RelayListener> ListenForAsync(string what, int port, LiveContainer target, int targetPort, CancellationToken cancellationToken)
    {
        Socket listener;
        try
        {
            listener = await WhileItLivesAsync(what, () => _network.ListenAsync(new IPEndPoint(IPAddress.Loopback, port), cancellationToken)).ConfigureAwait(false);
        }
        catch (SparkFailedException ex) when (ex.Failure.Errno == Libc.EADDRINUSE)
        {
            string taker = _links.TryGetValue(port, out string? link) ? link : "a program of its own";
            throw new IOException($"cannot {what} in a container of image '{Image}': port {port} is taken there by {taker}. Give the link another port, and tell its program of it.", ex);
        }
        catch (SparkFailedException ex)
        {
            throw ContainerNetwork.Refused(ex);
        }

        var relays = new RelayListener(listener, token => target._network.ConnectAsync(targetPort, token), () => _hasExited, $"{what} of image {Image}", _logger);
        await OwnAsync(relays, what).ConfigureAwait(false);
        _links[port] = what;
        return relays;
    }

    private async Task WaitUntilListensAsync(int port, CancellationToken cancellationToken)
    {
        var longestPause = TimeSpan.FromMilliseconds(20);
        for (TimeSpan pause = TimeSpan.FromMilliseconds(1); HasOwnNetwork && !ListeningPorts().Contains(port); pause = pause * 2 < longestPause ? pause * 2 : longestPause)
        {
            if (_hasExited)
                throw await EndedAsync($"forward port {port}").ConfigureAwait(false);
            await Task.Delay(pause, _time, cancellationToken).ConfigureAwait(false);
        }
    }
}
