using System.Diagnostics;

namespace Xfn.Core.TestSupport;

/// <summary>Programs that tests start and wait for.</summary>
internal static class Tool
{
    /// <summary>Runs a program that must not fail.</summary>
    /// <returns>What it wrote.</returns>
    public static string Run(string program, params string[] arguments)
    {
        // Blocked here, a test does not see that its time is over. What is made before tests has no time of its own.
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(LongMode.Limit(TestContext.CurrentContext.CancellationToken));
        limit.CancelAfter(TimeSpan.FromMinutes(5));
        ToolResult result = RunAsync(program, arguments, limit.Token).GetAwaiter().GetResult();
        return result.ExitCode == 0 ? result.Output : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error}");
    }

    /// <summary>Runs a program to its end.</summary>
    public static async Task<ToolResult> RunAsync(
        string program, string[] arguments, CancellationToken token, string input = "", Dictionary<string, string>? environment = null)
    {
        using Process process = Start(program, arguments, environment);
        return await EndAsync(process, token, input);
    }

    /// <summary>Starts a program with its streams in our hands.</summary>
    public static Process Start(string program, string[] arguments, Dictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in environment ?? [])
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>Ends a program's input, and waits for output and end, or kills it with all that it started.</summary>
    public static async Task<ToolResult> EndAsync(Process process, CancellationToken token, string input = "")
    {
        // The process leaves them open when it is disposed.
        using StreamReader stdout = process.StandardOutput, stderr = process.StandardError;
        try
        {
            Task<string> output = stdout.ReadToEndAsync(token), error = stderr.ReadToEndAsync(token);
            try
            {
                if (input.Length > 0)
                    await process.StandardInput.WriteAsync(input.AsMemory(), token);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It ended and read no more of it.
            }

            await process.WaitForExitAsync(token);
            return new ToolResult(process.ExitCode, await output, await error);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}

/// <summary>How a program ended.</summary>
internal sealed record ToolResult(int ExitCode, string Output, string Error);
