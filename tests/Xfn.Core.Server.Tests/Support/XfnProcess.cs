using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Xfn.Core.Server.Tests.Support;

/// <summary>The real <c>xfn</c>, serving.</summary>
internal sealed class XfnProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _log = new();
    private readonly TaskCompletionSource _serving = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private XfnProcess(string address, params string[] arguments)
    {
        Address = address;
        _process = new Process { StartInfo = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "xfn"), arguments) { RedirectStandardError = true, RedirectStandardInput = true } };
        _process.ErrorDataReceived += (_, line) =>
        {
            lock (_log)
                _log.AppendLine(line.Data);
            if (line.Data is null)
                _serving.TrySetException(new InvalidOperationException("xfn ended: " + Log));
            else if (line.Data.Contains("Serving on", StringComparison.Ordinal))
                _serving.TrySetResult();
        };
        _process.Start();
        _process.BeginErrorReadLine();
    }

    public string Address { get; }

    public int Id => _process.Id;

    /// <summary>What it has logged.</summary>
    public string Log
    {
        get
        {
            lock (_log)
                return _log.ToString();
        }
    }

    public int ExitCode => _process.ExitCode;

    /// <summary>Its memory, in bytes, without that of functions.</summary>
    public long Memory => Read("VmRSS:");

    /// <summary>The most memory that it had at once, likewise.</summary>
    public long PeakMemory => Read("VmHWM:");

    public bool HasExited => _process.HasExited;

    public TimeSpan CpuTime => _process.TotalProcessorTime;

    public int Descriptors => Directory.GetFileSystemEntries($"/proc/{Id}/fd").Length;

    public static async Task<XfnProcess> StartAsync(string address, params string[] arguments)
    {
        var xfn = new XfnProcess(address, [.. arguments, "--address", address, "--allow-local-images"]);
        await xfn._serving.Task.WaitAsync(TimeSpan.FromSeconds(60));
        return xfn;
    }

    public void Terminate() => Signals.Send(Id, Signals.Terminate);

    public Task WaitAsync(CancellationToken token) => _process.WaitForExitAsync(token);

    private long Read(string field) =>
        long.Parse(File.ReadLines($"/proc/{Id}/status").First(l => l.StartsWith(field, StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) << 10;

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
