using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Xfn.Core.Registry;
using Xfn.Core.Spark;

namespace Xfn.Core.Egress;

/// <summary>The way out of one container: a proxy on its loopback, and an address there for each host that is listed by
/// its whole name, which leads to the host.</summary>
internal sealed class ContainerEgress : IAsyncDisposable
{
    /// <summary>The first port that no kernel gives to a client by default, and no server has by convention.</summary>
    private const int FirstPort = 61000;

    private readonly CancellationTokenSource _stop = new();
    private readonly EgressConnector _connector;
    private readonly EgressProxy _proxy;
    private readonly int _port;
    private readonly Lock _lock = new();
    private Task? _serving;

    // One address for a name, whatever ports are listed.
    private readonly (IPAddress Address, EgressTarget[] Targets)[] _links;

    /// <summary>The way out of a container that does not begin yet.</summary>
    /// <param name="policy">What is allowed.</param>
    /// <param name="image">The image's name, for the log.</param>
    /// <param name="taken">The ports at which the container itself listens.</param>
    /// <param name="dialer">Resolves names, and connects.</param>
    /// <param name="options">The runner's log and clock.</param>
    public ContainerEgress(EgressPolicy policy, string image, HashSet<int> taken, Dialer dialer, ContainerRunnerOptions options)
    {
        _connector = new EgressConnector(policy, dialer, options.TimeProvider);
        _proxy = new EgressProxy(_connector, image, options.Logger, options.TimeProvider);
        _port = Enumerable.Range(FirstPort, ushort.MaxValue - FirstPort).First(port => !taken.Contains(port));

        // What listens at one address of the loopback keeps programs from listening at all of them.
        _links = [.. policy.Names.GroupBy(target => target.Name).Where(name => !name.Any(target => taken.Contains(target.Port)) && name.Key != "localhost")
            .Select((name, index) => (new IPAddress([127, 1, (byte)(index / 250), (byte)(1 + (index % 250))]), name.ToArray()))];
    }

    /// <summary>The settings with what tells programs of the way out. What the caller set itself wins.</summary>
    public ContainerSettings AddTo(ContainerSettings settings)
    {
        var environment = new Dictionary<string, string>(settings.Environment);
        var hosts = new Dictionary<string, IPAddress>(settings.ExtraHosts);
        foreach ((IPAddress address, EgressTarget[] targets) in _links)
            hosts.TryAdd(targets[0].Name, address);
        string proxy = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{_port}");
        string none = string.Join(',', settings.ExtraHosts.Keys.Prepend("localhost,127.0.0.1,127.0.0.0/8,::1"));
        foreach ((string name, string value) in new[] { ("HTTP_PROXY", proxy), ("HTTPS_PROXY", proxy), ("ALL_PROXY", proxy), ("NO_PROXY", none) })
        {
            string small = name.ToLowerInvariant();
            if (!settings.Environment.ContainsKey(name) && !settings.Environment.ContainsKey(small))
                (environment[name], environment[small]) = (value, value);
        }

        return settings with { Environment = environment, ExtraHosts = hosts };
    }

    /// <summary>Lets programs that heed the proxy reach another container by a link's name.</summary>
    public void AddLink(string name, int port, Func<CancellationToken, Task<Socket>> connect)
    {
        if (EgressTarget.TryParseHost(name, port, out _) is { } target)
            _connector.AddLink(target, connect);
    }

    /// <summary>Listens in a container whose programs have not begun yet.</summary>
    /// <returns>Itself.</returns>
    /// <inheritdoc cref="ContainerNetwork.ListenAsync" path="/exception"/>
    public async Task<ContainerEgress> OpenAsync(ContainerNetwork network, CancellationToken cancellationToken)
    {
        var listeners = new List<(Socket Socket, EgressTarget? Target)>();
        try
        {
            listeners.Add((await ListenAsync(IPAddress.Loopback, _port).ConfigureAwait(false), null));
            foreach ((IPAddress address, EgressTarget[] targets) in _links)
            {
                foreach (EgressTarget target in targets)
                    listeners.Add((await ListenAsync(address, target.Port).ConfigureAwait(false), target));
            }

            lock (_lock)
            {
                // The container may have ended meanwhile.
                if (_serving is not null)
                    throw new SparkGoneException();
                _serving = Task.WhenAll(listeners.Select(l => l.Target is null ? _proxy.ServeAsync(l.Socket, _stop.Token) : _proxy.LinkAsync(l.Socket, l.Target, _stop.Token)));
                return this;
            }
        }
        catch
        {
            listeners.ForEach(listener => listener.Socket.Dispose());
            throw;
        }

        Task<Socket> ListenAsync(IPAddress address, int port) => network.ListenAsync(new IPEndPoint(address, port), cancellationToken);
    }

    /// <summary>Ends all connections.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_lock)
            _serving ??= Task.CompletedTask;
        await _stop.CancelAsync().ConfigureAwait(false);
        await _serving.ConfigureAwait(false);
        _proxy.Dispose();
        _stop.Dispose();
    }
}
