using System.Diagnostics;

namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>An <c>xfn start</c> on a loopback port of its own, which can be killed and started again.</summary>
internal sealed class ServerProcess(string cache, int port) : IAsyncDisposable
{
    private Process? _process;

    public string Address { get; } = $"http://127.0.0.1:{port}";

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        _process = Process.Start(new ProcessStartInfo(
            Path.Combine(AppContext.BaseDirectory, "xfn"), ["start", "--network", "tcp", "--address", $"127.0.0.1:{port}", "--cache-dir", cache])
        {
            RedirectStandardError = true,
        })!;
        _process.BeginErrorReadLine();
        await using var remote = new RemoteContainerRunner(Address, o => o.MaxAttempts = 1);
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

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
            await KillAsync();
    }
}
