using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>The OCI runtime is there, runs, and is new enough.</summary>
internal static class RuntimeCheck
{
    private const string Name = "OCI runtime";
    private const string Wanted = "crun 1.8 or newer with seccomp, or another OCI runtime";

    private static readonly Version OldestCrun = new(1, 8);

    // Before these, a container could reach the host through an inherited descriptor (CVE-2024-21626).
    private static readonly Version OldestRunc = new(1, 1, 12);

    /// <param name="runtime">The runtime that was asked for; null for none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<EnvironmentCheck> CheckAsync(string? runtime, CancellationToken cancellationToken)
    {
        if (runtime is null)
            return EnvironmentChecker.Ok(Name, "none was asked for: xfn-spark makes containers by itself", "none, or one that is named (WithRuntime)");
        if (Executables.Find(runtime) is not { } path)
        {
            return EnvironmentChecker.Failed(Name, Missing(runtime), Wanted);
        }

        ProgramResult result = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        string[] lines = result.Output.Split('\n');
        return result.ExitCode == 0
            ? Judge(path, lines)
            : EnvironmentChecker.Failed(Name, new EnvironmentDiagnosis(
                $"'{path} --version' failed: {(result.Error.Length > 0 ? result.Error : $"exit status {result.ExitCode}")}", "Reinstall the runtime, or name another."), Wanted);
    }

    /// <summary>Why a run cannot start its container when the runtime is not there.</summary>
    internal static EnvironmentDiagnosis Missing(string runtime) => new(
        $"there is no program '{runtime}' that this user may execute", "Install crun (apt-get install crun, dnf install crun), or name another runtime (WithRuntime).");

    /// <summary>Judges by what <c>--version</c> says: a name, the word version, a version; crun adds a line of features.</summary>
    internal static EnvironmentCheck Judge(string path, IReadOnlyList<string> lines)
    {
        string[] words = lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        string kind = words.Length > 0 ? words[0] : "";
        Version? version = words.Select(w => SystemFiles.ParseVersion(w)).FirstOrDefault(v => v is not null);
        string found = $"{path}: {lines[0]}";
        return kind switch
        {
            "crun" when version < OldestCrun => Warning("which was not tried with this program", "Install crun 1.8 or newer."),
            "crun" when !lines.Any(l => l.Contains("+SECCOMP", StringComparison.Ordinal)) =>
                EnvironmentChecker.Failed(Name, new EnvironmentDiagnosis($"{found}, built without seccomp", "Install a crun that was built with libseccomp."), Wanted),
            "runc" when version < OldestRunc => Warning("which has a known way out of the container (CVE-2024-21626)", "Install runc 1.1.12 or newer."),
            _ => EnvironmentChecker.Ok(Name, found, Wanted),
        };

        EnvironmentCheck Warning(string why, string remedy) => EnvironmentChecker.Warning(Name, new EnvironmentDiagnosis($"{found}, {why}", remedy), Wanted);
    }
}
