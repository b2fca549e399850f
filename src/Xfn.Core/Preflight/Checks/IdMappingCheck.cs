using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>Which ids functions get: what <see cref="IdMappings.Decide"/> decides for a runner with the same
/// options.</summary>
internal static class IdMappingCheck
{
    private const string Name = "ids";
    private const string Wanted = "CAP_SETUID and CAP_SETGID, or 65536 subordinate ids with newuidmap and newgidmap";

    public static EnvironmentCheck Check(EnvironmentCheckOptions options)
    {
        IdMappingDecision decision = IdMappings.Decide(options.Ids, new IdMachine(options.Files, SystemUser.Current));
        if (decision.Refusal is { } refusal)
            return EnvironmentChecker.Failed(Name, refusal, Wanted);

        EnvironmentDiagnosis[] warnings = [.. decision.Lacking, .. decision.Shared];
        return warnings.Length > 0
            ? EnvironmentChecker.Warning(
                Name, new(string.Join("; ", warnings.Select(w => w.Found)), string.Join(" ", warnings.Select(w => w.Remedy).Where(r => r.Length > 0).Distinct())), Wanted)
            : EnvironmentChecker.Ok(
                Name,
                $"{(decision.Mapping!.Method == IdMappingMethod.Capabilities ? "this process has CAP_SETUID and CAP_SETGID" : "this user has subordinate ids")}: functions get {IdMappings.Show(decision.Mapping)}",
                Wanted);
    }
}
