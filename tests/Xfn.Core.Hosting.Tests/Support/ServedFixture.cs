namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>Servers and their clients for a test, and a look around afterwards.</summary>
internal abstract class ServedFixture : RunnerFixture
{
    private readonly List<IAsyncDisposable> _clients = [];
    private readonly List<ContainerRunnerServer> _servers = [];

    // NUnit takes those of the derived class first: the look around comes after.
    [TearDown]
    public async Task StopServers()
    {
        foreach (IAsyncDisposable client in _clients)
            await client.DisposeAsync();
        foreach (ContainerRunnerServer server in _servers)
            await server.DisposeAsync();
        _clients.Clear();
        _servers.Clear();
    }

    /// <summary>Serves a runner on a loopback port, or elsewhere.</summary>
    protected async Task<ContainerRunnerServer> ServeAsync(
        IContainerRunner runner, string network = "tcp", string address = "127.0.0.1:0", Action<ContainerRunnerServerOptions>? configure = null)
    {
        var options = new ContainerRunnerServerOptions { AllowLocalImages = true, AllowRunnerNetwork = true };
        configure?.Invoke(options);
        ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(runner, network, address, options);
        _servers.Add(server);
        return server;
    }

    protected RemoteContainerRunner Call(string address, Action<RemoteContainerRunnerOptions>? configure = null)
    {
        var remote = new RemoteContainerRunner(address, configure);
        _clients.Add(remote);
        return remote;
    }

    /// <summary>Calls a server, or several.</summary>
    protected RemoteContainerRunner Call(params ContainerRunnerServer[] servers) => Call(AddressOf(servers));

    /// <summary>How a client writes the addresses of servers.</summary>
    protected static string AddressOf(params ContainerRunnerServer[] servers) => string.Join(",", servers.Select(s => s.Address[0] switch
    {
        '@' => "unix-abstract:" + s.Address[1..],
        '/' => "unix:" + s.Address,
        _ => "http://" + s.Address,
    }));

    protected static RunFunctionRequest Request(string input = "", string image = "example.org/function") =>
        new() { Image = image, Input = System.Text.Encoding.UTF8.GetBytes(input) };
}
