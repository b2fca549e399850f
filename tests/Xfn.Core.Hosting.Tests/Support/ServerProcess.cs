using System.Diagnostics;

namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>An <c>xfn start</c> on a loopback port of its own, which can be killed or stopped, and started again.</summary>
/// <param name="cache">The directory of its cache.</param>
/// <param name="port">Its port.</param>
/// <param name="tls">What it and its callers show each other; null for no TLS.</param>
internal sealed class ServerProcess(string cache, int port, TlsFiles? tls = null) : IAsyncDisposable
{
    private Process? _process;

    public string Cache { get; } = cache;

    public string Address { get; } = tls is null ? $"http://127.0.0.1:{port}" : $"https://{TlsFiles.Name}:{port}";

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        string[] secured = tls is null ? [] : ["--tls-cert", tls.Certificate, "--tls-key", tls.Certificate, "--tls-client-ca", tls.Authority];
        _process = Process.Start(new ProcessStartInfo(
            Path.Combine(AppContext.BaseDirectory, "xfn"), ["start", "--network", "tcp", "--address", $"127.0.0.1:{port}", "--cache-dir", Cache, .. secured])
        {
            RedirectStandardError = true,
        })!;
        _process.BeginErrorReadLine();
        await using var remote = new RemoteContainerRunner(Address, o =>
        {
            o.MaxAttempts = 1;
            tls?.Apply(o);
        });
        while (true)
        {
            Assert.That(_process.HasExited, Is.False, "the server has ended");
            try
            {
                if (await remote.IsServingAsync(cancellationToken))
                    return;
            }
            catch (ServerUnavailableException)
            {
                await Task.Delay(50, cancellationToken);
            }
        }
    }

    public async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    /// <summary>Stops it in good order: it lets its runs end.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        Signals.Send(_process!.Id, Signals.Terminate);
        await _process.WaitForExitAsync(cancellationToken);
        Assert.That(_process.ExitCode, Is.Zero);
        _process.Dispose();
        _process = null;
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
            await KillAsync();
    }
}
