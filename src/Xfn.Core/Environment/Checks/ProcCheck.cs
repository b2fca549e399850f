namespace Xfn.Core.Preflight.Checks;

/// <summary>A function's /proc shows its own processes only if it is mounted afresh, which the kernel refuses where the outer one is masked.</summary>
internal static class ProcCheck
{
    private const string Name = "/proc";
    private const string Wanted = "a fresh /proc can be mounted in new namespaces";

    public static async Task<EnvironmentCheck> CheckAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken)
    {
        ProgramResult result = await Programs.RunAsync(
            "unshare", ["--user", "--map-root-user", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"], cancellationToken).ConfigureAwait(false);
        if (result.ExitCode == 0)
            return EnvironmentChecker.Ok(Name, "it can be mounted", Wanted);
        EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfProc(result.Error, options.Files);
        return options.AllowOuterProc ? EnvironmentChecker.Warning(Name, diagnosis, Wanted) : EnvironmentChecker.Failed(Name, diagnosis, Wanted);
    }
}
