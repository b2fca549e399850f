namespace Xfn.Core.Cgroups;

/// <summary>Which limits can be enforced here, and why not the others.</summary>
/// <param name="Controllers">One for each of memory, cpu and pids.</param>
internal sealed record CgroupSupport(IReadOnlyList<ControllerSupport> Controllers)
{
    /// <summary>The controllers that can be used.</summary>
    public CgroupControllers Usable => Controllers.Where(c => c.IsUsable).Aggregate(CgroupControllers.None, (all, c) => all | c.Controller);

    /// <summary>The names of controllers, as the kernel writes them.</summary>
    public static IEnumerable<string> Names(CgroupControllers controllers)
    {
        if (controllers.HasFlag(CgroupControllers.Memory))
            yield return "memory";
        if (controllers.HasFlag(CgroupControllers.Cpu))
            yield return "cpu";
        if (controllers.HasFlag(CgroupControllers.Pids))
            yield return "pids";
    }
}

/// <summary>Whether one controller can be used.</summary>
/// <param name="Controller">The controller.</param>
/// <param name="IsUsable">Whether it can.</param>
/// <param name="Found">Where it is used, or a clause that says why it cannot be.</param>
/// <param name="Remedy">A sentence that says how to change that; empty when it can be used.</param>
internal sealed record ControllerSupport(CgroupControllers Controller, bool IsUsable, string Found, string Remedy)
{
    /// <summary>The controller's name.</summary>
    public string Name => CgroupSupport.Names(Controller).Single();
}
