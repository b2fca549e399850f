using System.Diagnostics;
using System.Globalization;

namespace Xfn.Core.Server.Tests.Support;

/// <summary>Attackers in a process of their own: their work slows no caller and is in no server's figures.</summary>
internal sealed class AttackProcess : IAsyncDisposable
{
    private const string Beginning = "begins";

    private readonly Process _process;

    private AttackProcess(Process process) => _process = process;

    /// <summary>Has attackers come from a process that ends by itself, and with this one.</summary>
    /// <param name="address">Of the server.</param>
    /// <param name="connections">How many they make.</param>
    /// <param name="seconds">How long they go on.</param>
    public static AttackProcess Start(string address, int connections, int seconds)
    {
        string[] arguments = ["attack", address, .. new[] { connections, seconds }.Select(n => n.ToString(CultureInfo.InvariantCulture))];
        return new AttackProcess(Process.Start(new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!);
    }

    /// <summary>The process started by <see cref="Start"/>.</summary>
    public static async Task AttackAsync(string address, int connections, int seconds)
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        _ = Task.Run(() =>
        {
            // At an end only when whoever started it is gone.
            Console.In.ReadToEnd();
            Environment.Exit(1);
        });
        await Console.Out.WriteLineAsync(Beginning);
        var attack = new Attack(() => ServerFixture.Handler(address), stop.Token);
        await Task.WhenAll(Enumerable.Range(0, connections).Select(attack.ConnectAsync));
        await Console.Out.WriteLineAsync($"{attack.Calls} calls, {attack.Sent >> 20} MiB sent, {Environment.CpuUsage.TotalTime.TotalSeconds:0} s of processor time; {attack.Answers}");
    }

    /// <summary>Waits until they begin.</summary>
    public async Task BeginsAsync(CancellationToken token) => Assert.That(await _process.StandardOutput.ReadLineAsync(token), Is.EqualTo(Beginning));

    /// <summary>What they say of themselves at the end.</summary>
    public async Task<string> EndAsync(CancellationToken token)
    {
        string said = await _process.StandardOutput.ReadToEndAsync(token);
        await _process.WaitForExitAsync(token);
        Assert.That(_process.ExitCode, Is.Zero, said);
        return said.TrimEnd();
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        await _process.StandardInput.DisposeAsync();
        _process.StandardOutput.Dispose();
        _process.Dispose();
    }
}
