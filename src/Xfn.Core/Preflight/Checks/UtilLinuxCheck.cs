using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>Namespaces are made by util-linux's unshare; busybox's lacks what is needed.</summary>
internal static class UtilLinuxCheck
{
    private const string Name = "util-linux";
    private const string Wanted = "unshare of util-linux 2.36 or newer, which knows --keep-caps";

    public static async Task<EnvironmentCheck> CheckAsync(CancellationToken cancellationToken)
    {
        if (Executables.Find("unshare") is not { } path)
            return EnvironmentChecker.Failed(Name, EnvironmentDiagnosis.OfUtilLinux("there is no unshare in PATH"), Wanted);

        ProgramResult result = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        string found = $"{path}: {(result.Output.Length > 0 ? result.Output : result.Error).Split('\n')[0]}";
        // "unshare from util-linux 2.38.1"
        bool isGood = result.Output.Contains("util-linux", StringComparison.Ordinal)
            && SystemFiles.ParseVersion(result.Output.AsSpan(result.Output.LastIndexOf(' ') + 1)) >= new Version(2, 36);
        return isGood
            ? EnvironmentChecker.Ok(Name, found, Wanted)
            : EnvironmentChecker.Failed(Name, EnvironmentDiagnosis.OfUtilLinux(found), Wanted);
    }
}
