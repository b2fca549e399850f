using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Debian's docker-registry on a loopback port, with a storage of its own.</summary>
internal sealed class LocalRegistry : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _noCredentials;

    private LocalRegistry(Process process, string host, string noCredentials) => (_process, Host, _noCredentials) = (process, host, noCredentials);

    /// <summary>Its host and port.</summary>
    public string Host { get; }

    public static async Task<LocalRegistry> StartAsync(string directory, CancellationToken cancellationToken)
    {
        int port = FreePort();
        string host = $"127.0.0.1:{port}";
        string config = Path.Combine(directory, "registry.yml");
        await File.WriteAllTextAsync(
            config,
            $"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{directory}/registry'}}}}\nhttp: {{addr: '{host}'}}\n",
            cancellationToken);
        string noCredentials = Path.Combine(directory, "auth.json");
        await File.WriteAllTextAsync(noCredentials, "{}", cancellationToken);
        var start = new ProcessStartInfo("docker-registry", ["serve", config]) { RedirectStandardOutput = true, RedirectStandardError = true };
        var registry = new LocalRegistry(Process.Start(start)!, host, noCredentials);
        registry._process.BeginOutputReadLine();
        registry._process.BeginErrorReadLine();
        using var client = new HttpClient();
        while (true)
        {
            try
            {
                using HttpResponseMessage response = await client.GetAsync($"http://{host}/v2/", cancellationToken);
                return registry;
            }
            catch (HttpRequestException) when (!registry._process.HasExited)
            {
                await Task.Delay(20, cancellationToken);
            }
        }
    }

    /// <summary>A loopback port that nothing listens on.</summary>
    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Pushes an OCI layout with skopeo.</summary>
    /// <returns>A reference to the image.</returns>
    public async Task<string> PushAsync(string layout, string name, CancellationToken cancellationToken)
    {
        using Process skopeo = Process.Start(new ProcessStartInfo("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", layout, $"docker://{Host}/{name}"])
        {
            RedirectStandardError = true,
            // Nobody's credentials: the usual place may be another user's.
            Environment = { ["REGISTRY_AUTH_FILE"] = _noCredentials },
        })!;
        using StreamReader errors = skopeo.StandardError;
        string said = await errors.ReadToEndAsync(cancellationToken);
        await skopeo.WaitForExitAsync(cancellationToken);
        Assert.That(skopeo.ExitCode, Is.Zero, said);
        return $"{Host}/{name}";
    }

    public async ValueTask DisposeAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
