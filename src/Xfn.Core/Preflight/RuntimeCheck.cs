using Xfn.Core.Interop;

namespace Xfn.Core.Preflight;

/// <summary>The OCI runtime is there, runs, and is new enough.</summary>
internal static class RuntimeCheck
{
    private static readonly Subject Runtime = new("OCI runtime", "crun 1.8 or newer with seccomp, or another OCI runtime");

    private static readonly Version OldestCrun = new(1, 8);

    // Before these, a container could reach the host through an inherited descriptor (CVE-2024-21626).
    private static readonly Version OldestRunc = new(1, 1, 12);

    public static async Task<EnvironmentCheck> CheckAsync(string? runtime, CancellationToken cancellationToken)
    {
        if (runtime is null)
            return (Runtime with { Wanted = "none, or one that is named (option Runtime)" }).Ok("none was asked for: xfn-spark makes containers by itself");
        if (Executables.Find(runtime) is not { } path)
        {
            return Runtime.Failed(
                $"there is no program '{runtime}' that this user may execute", $"Install crun ({SystemPackage.Crun.Command}), or name another runtime (option Runtime).");
        }

        ProgramResult result = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        return result.ExitCode == 0
            ? Judge(path, result.Output.Split('\n'))
            : Runtime.Failed($"'{path} --version' failed: {(result.Error.Length > 0 ? result.Error : $"exit status {result.ExitCode}")}", "Reinstall the runtime, or name another.");
    }

    /// <summary>Judges by <c>--version</c>: a name, the word version, a version; crun has a line of features.</summary>
    internal static EnvironmentCheck Judge(string path, IReadOnlyList<string> lines)
    {
        string[] words = lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Version? version = words.Select(w => SystemFiles.ParseVersion(w)).FirstOrDefault(v => v is not null);
        string found = $"{path}: {lines[0]}";
        return words.FirstOrDefault() switch
        {
            "crun" when version < OldestCrun => Runtime.Warning($"{found}, which was not tried with this program", "Install crun 1.8 or newer."),
            "crun" when !lines.Any(l => l.Contains("+SECCOMP", StringComparison.Ordinal)) => Runtime.Failed($"{found}, built without seccomp", "Install a crun that was built with libseccomp."),
            "runc" when version < OldestRunc => Runtime.Warning($"{found}, which has a known way out of the container (CVE-2024-21626)", "Install runc 1.1.12 or newer."),
            _ => Runtime.Ok(found),
        };
    }
}
