using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Tests.Registry;

/// <summary>Debian's docker-registry on a free loopback port.</summary>
internal sealed class DockerRegistry : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly Process _process;

    /// <param name="configure">Fills the registry's directory and gives more YAML: for its http section, and sections of its own.</param>
    public DockerRegistry(Func<TemporaryDirectory, (string Http, string Other)>? configure = null)
    {
        Port = FreePort();
        (string http, string other) = configure?.Invoke(_directory) ?? ("", "");
        File.WriteAllText(_directory["config.yml"], $"""
            version: 0.1
            log: {"{"} level: error {"}"}
            storage: {"{"} filesystem: {"{"} rootdirectory: "{_directory["data"]}" {"}"}, delete: {"{"} enabled: true {"}"} {"}"}
            http:
              addr: 127.0.0.1:{Port}
            {http}
            {other}
            """);
        _process = Process.Start(new ProcessStartInfo("docker-registry", ["serve", _directory["config.yml"]]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        WaitUntilItListens();
    }

    public int Port { get; }

    public string Host => $"127.0.0.1:{Port}";

    /// <summary>Copies an image into the registry, as skopeo does.</summary>
    public void Push(string source, string name, params string[] options) =>
        Tool.Run("skopeo", ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", .. options, source, $"docker://{Host}/{name}"]);

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit(10_000);
        _process.Dispose();
        _directory.Dispose();
    }

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private void WaitUntilItListens()
    {
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromSeconds(20); Thread.Sleep(20))
        {
            try
            {
                using var client = new TcpClient();
                client.Connect(IPAddress.Loopback, Port);
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
