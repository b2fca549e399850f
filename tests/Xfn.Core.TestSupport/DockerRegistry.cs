using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.TestSupport;

/// <summary>Debian's docker-registry on a free loopback port.</summary>
internal sealed class DockerRegistry : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly Process _process;
    private readonly IPAddress _address;

    /// <param name="configure">Fills the registry's directory and gives more YAML: for its http section, and sections of its own.</param>
    /// <param name="address">Where it listens, if not on 127.0.0.1.</param>
    /// <param name="storage">Another registry, whose images it serves.</param>
    public DockerRegistry(Func<TemporaryDirectory, (string Http, string Other)>? configure = null, IPAddress? address = null, DockerRegistry? storage = null)
    {
        _address = address ?? IPAddress.Loopback;
        Port = FreePort();
        Storage = storage?.Storage ?? _directory["data"];
        (string http, string other) = configure?.Invoke(_directory) ?? ("", "");
        File.WriteAllText(_directory["config.yml"], $"""
            version: 0.1
            log: {"{"} level: error {"}"}
            storage: {"{"} filesystem: {"{"} rootdirectory: "{Storage}" {"}"}, delete: {"{"} enabled: true {"}"} {"}"}
            http:
              addr: "{Host}"
            {http}
            {other}
            """);
        // Nobody's credentials: the usual place may be another user's.
        File.WriteAllText(_directory["auth.json"], "{}");
        _process = Process.Start(new ProcessStartInfo("docker-registry", ["serve", _directory["config.yml"]]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        WaitUntilItListens();
    }

    public int Port { get; }

    private string Storage { get; }

    /// <summary>Its address and port.</summary>
    public string Host => new IPEndPoint(_address, Port).ToString();

    /// <summary>Copies an image into the registry, as skopeo does.</summary>
    /// <returns>A reference to it there.</returns>
    public string Push(string source, string name, params string[] options)
    {
        Tool.Run("skopeo", ["copy", "--quiet", "--insecure-policy", "--authfile", _directory["auth.json"], "--dest-tls-verify=false", .. options, source, $"docker://{Host}/{name}"]);
        return $"{Host}/{name}";
    }

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit(10_000);
        _process.Dispose();
        _directory.Dispose();
    }

    /// <summary>A loopback port that nothing listens on.</summary>
    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private void WaitUntilItListens()
    {
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromMinutes(1); Thread.Sleep(20))
        {
            try
            {
                using var client = new TcpClient(_address.AddressFamily);
                client.Connect(_address, Port);
                return;
            }
            catch (SocketException) when (!_process.HasExited)
            {
                // Not yet.
            }
        }

        throw new TimeoutException("docker-registry does not listen");
    }
}
