using Xfn.Core.Interop;
using Xfn.Core.Namespaces;
namespace Xfn.Core.Preflight.Checks;

/// <summary>A function's /proc shows its own processes only if it is mounted afresh, which the kernel refuses where the outer one is masked.</summary>
internal static class ProcCheck
{
    private const string Name = "/proc";
    private const string Wanted = "a fresh /proc can be mounted in new namespaces";

    public static async Task<EnvironmentCheck> CheckAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken)
    {
        // A run maps ids that are not root's, unshare(1) only its caller; so what the kernel decides by is looked at instead.
        if (IdMappings.FindUnmappable(options.Files, ProcessStatus.Read(options.Files)) is not null && !EnvironmentDiagnosis.MountsOverProc(options.Files).Any())
            return EnvironmentChecker.Ok(Name, "nothing is mounted over it (not tried: that takes CAP_SETFCAP)", Wanted);
        ProgramResult result = await Programs.RunAsync(
            "unshare", ["--user", "--map-root-user", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"], cancellationToken).ConfigureAwait(false);
        if (result.ExitCode == 0)
            return EnvironmentChecker.Ok(Name, "it can be mounted", Wanted);
        EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfProc(result.Error, options.Files);
        return options.AllowOuterProc ? EnvironmentChecker.Warning(Name, diagnosis, Wanted) : EnvironmentChecker.Failed(Name, diagnosis, Wanted);
    }
}
