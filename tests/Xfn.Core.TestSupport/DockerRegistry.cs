using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Xfn.Core.TestSupport;

/// <summary>Debian's docker-registry on a free loopback port.</summary>
internal sealed class DockerRegistry : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly IPAddress _address;
    private Process _process = null!;

    /// <param name="configure">Fills the registry's directory and gives YAML: for its http section, and more.</param>
    /// <param name="address">Where it listens, if not on 127.0.0.1.</param>
    /// <param name="storage">Another registry, whose images it serves.</param>
    public DockerRegistry(Func<TemporaryDirectory, (string Http, string Other)>? configure = null, IPAddress? address = null, DockerRegistry? storage = null)
    {
        _address = address ?? IPAddress.Loopback;
        Storage = storage?.Storage ?? _directory["data"];
        (string http, string other) = configure?.Invoke(_directory) ?? ("", "");
        // Nobody's credentials: the usual place may be another user's.
        File.WriteAllText(_directory["auth.json"], "{}");
        // A port that was free may be another's by the time that the registry wants it.
        for (int attempt = 1; !TryStart(http, other); attempt++)
            Assert.That(attempt, Is.LessThan(5), "docker-registry does not listen");
    }

    public int Port { get; private set; }

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

    /// <summary>A loopback port that nothing listens on. It is below those that Linux hands out by itself, so that no
    /// other test's server or connection comes to have it.</summary>
    public static int FreePort()
    {
        while (true)
        {
            int port = RandomNumberGenerator.GetInt32(10_000, 32_000);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Another's.
            }
        }
    }

    /// <summary>Starts the program, and waits until it listens.</summary>
    /// <returns>False when it has ended.</returns>
    private bool TryStart(string http, string other)
    {
        Port = FreePort();
        File.WriteAllText(_directory["config.yml"], $$"""
            version: 0.1
            log: { level: error }
            storage: { filesystem: { rootdirectory: "{{Storage}}" }, delete: { enabled: true } }
            http:
              addr: "{{Host}}"
            {{http}}
            {{other}}
            """);
        _process = Process.Start(new ProcessStartInfo("docker-registry", ["serve", _directory["config.yml"]]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromMinutes(1) && !_process.HasExited; Thread.Sleep(20))
        {
            try
            {
                using var client = new TcpClient(_address.AddressFamily);
                client.Connect(_address, Port);
                // Another's server may have taken the port.
                return !_process.HasExited;
            }
            catch (SocketException)
            {
                // Not yet.
            }
        }

        _process.Kill();
        _process.Dispose();
        return false;
    }
}
