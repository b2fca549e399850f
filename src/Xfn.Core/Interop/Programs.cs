using System.Diagnostics;

namespace Xfn.Core.Interop;

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">Its exit status; -1 when it could not be started or did not end in time.</param>
/// <param name="Output">What it wrote to stdout.</param>
/// <param name="Error">What it wrote to stderr, or why it could not be run.</param>
internal sealed record ProgramResult(int ExitCode, string Output, string Error);

/// <summary>Tries the programs that runs need.</summary>
internal static class Programs
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    /// <summary>Runs a program to its end, with messages in English.</summary>
    public static async Task<ProgramResult> RunAsync(string program, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(Executables.Find(program) ?? program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LC_ALL"] = "C";
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return new ProgramResult(-1, "", e.Message);
        }

        // Once they were asked for, they are no longer the process's to close.
        using (process)
        using (StreamReader stdout = process.StandardOutput, stderr = process.StandardError)
        using (var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
        {
            limit.CancelAfter(Timeout);
            try
            {
                process.StandardInput.Close();
                Task<string> output = stdout.ReadToEndAsync(limit.Token);
                Task<string> error = stderr.ReadToEndAsync(limit.Token);
                await Task.WhenAll(output, error, process.WaitForExitAsync(limit.Token)).ConfigureAwait(false);
                return new ProgramResult(process.ExitCode, (await output.ConfigureAwait(false)).Trim(), (await error.ConfigureAwait(false)).Trim());
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                cancellationToken.ThrowIfCancellationRequested();
                return new ProgramResult(-1, "", $"it did not end within {Timeout.TotalSeconds:0} s");
            }
        }
    }
}
