using Xfn.Core.Cgroups;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>Functions run without cgroups, but a limit that is asked for must be enforceable.</summary>
internal static class CgroupCheck
{
    public static IEnumerable<EnvironmentCheck> Check(CgroupPaths? paths = null) =>
        CgroupDetector.Detect(paths ?? new CgroupPaths()).Support.Controllers.Select(c =>
        {
            string name = $"cgroup {c.Name}";
            string without = c.Controller == CgroupControllers.Pids ? "the number of processes is not limited" : $"a run that asks for a {c.Name} limit is refused";
            const string Wanted = "this process may make cgroups with this controller";
            return c.IsUsable
                ? EnvironmentChecker.Ok(name, c.Found, Wanted)
                : EnvironmentChecker.Warning(name, new EnvironmentDiagnosis($"{c.Found}: {without}", c.Remedy), Wanted);
        });
}
