using System.Diagnostics;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>Runs a program.</summary>
internal static class Tool
{
    public static string Run(string program, params string[] arguments)
    {
        using var process = new Process { StartInfo = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true } };
        process.Start();
        // Blocked here, a test does not see that its time is over.
        using CancellationTokenRegistration end = LongMode.Limit(TestContext.CurrentContext.CancellationToken).Register(() => process.Kill(entireProcessTree: true));
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(TimeSpan.FromMinutes(5)))
            process.Kill(entireProcessTree: true);
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {error.GetAwaiter().GetResult()}");
    }
}
