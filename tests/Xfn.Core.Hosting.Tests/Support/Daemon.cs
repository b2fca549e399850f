using System.Diagnostics;
using System.Text;

namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>A daemon of a Debian package, in the foreground. The package is unpacked by eng/long-tests.sh, or
/// installed.</summary>
internal sealed class Daemon : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _said = new();

    /// <param name="program">Its path in the package.</param>
    /// <param name="arguments">Its arguments.</param>
    public Daemon(string program, params string[] arguments)
    {
        Program = Find(program);
        _process = Process.Start(StartOf(Program, arguments))!;
        _process.OutputDataReceived += Hear;
        _process.ErrorDataReceived += Hear;
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public string Program { get; }

    public int Id => _process.Id;

    /// <summary>Where a program of an unpacked or installed package is. Skips the test where it is neither.</summary>
    public static string Find(string program)
    {
        string? found = new[] { Packages + program, program }.FirstOrDefault(File.Exists);
        if (found is null)
            Assert.Ignore($"There is no {program}. eng/long-tests.sh unpacks it.");
        return found!;
    }

    /// <summary>How a program of an unpacked package is started, which finds its like and its libraries there.</summary>
    public static ProcessStartInfo StartOf(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PATH"] = $"{Packages}/usr/sbin:{Packages}/usr/bin:{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin:/sbin";
        start.Environment["LD_LIBRARY_PATH"] = string.Join(':', Directory.Exists($"{Packages}/usr/lib") ? Directory.GetDirectories($"{Packages}/usr/lib", "*-linux-gnu") : []);
        return start;
    }

    /// <summary>Waits until the daemon does something. Fails, with what it said, when it has ended.</summary>
    public async Task UntilAsync(Func<Task<bool>> isSo, CancellationToken cancellationToken)
    {
        while (!await isSo())
        {
            lock (_said)
                Assert.That(_process.HasExited, Is.False, () => $"{Program} has ended: {_said}");
            await Task.Delay(100, cancellationToken);
        }
    }

    /// <summary>Ends it in good order where a signal can, and kills it where that takes longer than half a
    /// minute.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            Signals.Send(_process.Id, Signals.Terminate);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        try
        {
            await _process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync(CancellationToken.None);
        }

        _process.Dispose();
    }

    private static string Packages => Path.Combine(SourceTree.Root(), "artifacts/debian");

    private void Hear(object sender, DataReceivedEventArgs line)
    {
        lock (_said)
            _said.AppendLine(line.Data);
    }
}
