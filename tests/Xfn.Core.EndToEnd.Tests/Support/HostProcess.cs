using System.Diagnostics;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A host of its own for functions: xfn, started by a shell that prepares what it is to run under.</summary>
internal static class HostProcess
{
    /// <summary>The program; where functions are prepared, this one, which does as it does but prepares them.</summary>
    public static string Xfn => Ways.IsPrepared ? Environment.ProcessPath! : Path.Combine(AppContext.BaseDirectory, "xfn");

    /// <summary>Starts a program with its streams in our hands.</summary>
    public static Process Start(string program, params string[] arguments) => Process.Start(
        new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;

    /// <summary>Runs a program to its end, without input.</summary>
    public static async Task<HostResult> RunAsync(string program, string[] arguments, CancellationToken token)
    {
        using Process process = Start(program, arguments);
        process.StandardInput.Close();
        using StreamReader stdout = process.StandardOutput, stderr = process.StandardError;
        try
        {
            Task<string> output = stdout.ReadToEndAsync(token), error = stderr.ReadToEndAsync(token);
            await process.WaitForExitAsync(token);
            return new HostResult(process.ExitCode, await output, await error);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    /// <summary>Runs xfn with these arguments, by a shell that does something before: <c>ulimit -n 64</c>.</summary>
    public static Task<HostResult> RunAfterAsync(string preparation, string[] arguments, CancellationToken token) =>
        RunAsync("sh", ["-c", $"{preparation} && exec \"$0\" \"$@\"", Xfn, .. arguments], token);
}

/// <summary>How a host ended.</summary>
internal sealed record HostResult(int ExitCode, string Output, string Error);
