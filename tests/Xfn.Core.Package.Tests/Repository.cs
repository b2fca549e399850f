using System.Diagnostics;

namespace Xfn.Core.Package.Tests;

/// <summary>The repository that these tests were built from, and programs run as a user would in a shell.</summary>
internal static class Repository
{
    public static string Root { get; } = SourceTree.Root();

    /// <summary>Runs a program to its end and returns what it wrote; any status but the expected one fails the test, if
    /// one is expected.</summary>
    public static async Task<string> RunAsync(
        string directory, string program, string[] arguments, CancellationToken token, int? expectedStatus = 0, Dictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(program, arguments) 
        {
            WorkingDirectory = directory,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // What msbuild and the test platform hand down is not what a user's shell has.
        foreach (string name in start.Environment.Keys.Where(n => n.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase) || n.StartsWith("TESTINGPLATFORM", StringComparison.Ordinal)).ToList())
            start.Environment.Remove(name);
        foreach ((string name, string value) in environment ?? [])
            start.Environment[name] = value;
        // Servers would outlive the test and hold its directories.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["UseSharedCompilation"] = "false";

        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        try
        {
            Task<string> error = process.StandardError.ReadToEndAsync(token);
            string output = await process.StandardOutput.ReadToEndAsync(token);
            await process.WaitForExitAsync(token);
            if (expectedStatus is not null)
                Assert.That(process.ExitCode, Is.EqualTo(expectedStatus), $"{program} {string.Join(' ', arguments)}:\n{output}{await error}");
            return output;
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
