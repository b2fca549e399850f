using System.Diagnostics;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A host of its own for functions: xfn, started by a shell that prepares what it is to run under.</summary>
internal static class HostProcess
{
    /// <summary>The program; where functions are prepared or a runtime is to be used, this one, which does as it does but for that.</summary>
    public static string Xfn => IsThisProgram ? Environment.ProcessPath! : Path.Combine(AppContext.BaseDirectory, "xfn");

    /// <summary>Whether the host is the test program, which needs more of everything than xfn.</summary>
    public static bool IsThisProgram => Ways.IsPrepared || Ways.Runtime is not null;

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

    /// <summary>Runs a command in a mount namespace of its own, by a shell that mounts something before.</summary>
    /// <remarks>Who may not mount becomes able to in a user namespace, and gives that up again: no root there, which without CAP_SETFCAP could map nobody.</remarks>
    public static Task<HostResult> RunUnderAsync(string mounts, string[] command, CancellationToken token)
    {
        if (Ways.IsRoot)
            return RunAsync("unshare", ["--mount", "sh", "-c", $"{mounts} && exec \"$0\" \"$@\"", .. command], token);
        if (Environment.IsPrivilegedProcess)
            Assert.Ignore("Root without CAP_SYS_ADMIN can mask nothing.");
        return RunAsync(
            "unshare",
            [
                "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "--mount",
                "sh", "-c", $"{mounts} && exec setpriv --ambient-caps=-all --inh-caps=-all \"$0\" \"$@\"", .. command,
            ],
            token);
    }
}

/// <summary>How a host ended.</summary>
internal sealed record HostResult(int ExitCode, string Output, string Error);
