namespace Xfn.Core.Cgroups;

/// <summary>Makes cgroups for runs: one each, where the machine allows, with the limits that were asked for.</summary>
/// <remarks>Safe for many threads. Disposal removes the cgroups that are left and kills what is in them.</remarks>
internal sealed class CgroupManager(CgroupSupport support, IReadOnlyList<CgroupHierarchy> hierarchies, string stateDirectory, TimeProvider time) : IAsyncDisposable
{
    private readonly Lock _claiming = new();
    private CgroupOwner? _owner;

    public CgroupSupport Support => support;

    /// <summary>Finds out what this process may do. Changes nothing. The state directory is the caller's and outlives
    /// the process: for the file that tells whose the cgroups are. It is made when it is needed.</summary>
    public static CgroupManager Detect(string stateDirectory, CgroupPaths? paths = null, TimeProvider? time = null)
    {
        (CgroupSupport support, IReadOnlyList<CgroupHierarchy> hierarchies) = CgroupDetector.Detect(paths ?? new CgroupPaths());
        return new CgroupManager(support, hierarchies, stateDirectory, time ?? TimeProvider.System);
    }

    /// <summary>Removes the cgroups of processes that ended without doing so, and kills what is in them.</summary>
    /// <param name="stateDirectory">What those processes gave to <see cref="Detect"/>.</param>
    /// <returns>How many were removed.</returns>
    public static Task<int> SweepAsync(string stateDirectory) => CgroupOwner.SweepAsync(stateDirectory);

    /// <exception cref="ContainerEnvironmentException">A limit that was asked for cannot be enforced here.</exception>
    public void Require(CgroupLimits limits)
    {
        CgroupControllers missing = limits.Required & ~Support.Usable;
        if (missing == 0)
            return;
        ControllerSupport first = Support.Controllers.First(c => missing.HasFlag(c.Controller));
        string limit = first.Controller switch
        {
            CgroupControllers.Memory => $"memory to '{limits.MemoryBytes}' bytes",
            CgroupControllers.Cpu => $"processor time to '{limits.CpuMilli}m'",
            _ => $"processes to '{limits.Pids}'",
        };
        throw new ContainerEnvironmentException(RunStage.Validate, $"cannot limit {limit}: the cgroup controller {first.Name} cannot be used, {first.Found}. {first.Remedy}");
    }

    /// <summary>Makes a run's cgroup, by a name of letters, digits and hyphens, and sets its limits. Where these need no
    /// controllers it makes nothing. A default limit of processes is dropped if it cannot be enforced.</summary>
    /// <exception cref="ContainerEnvironmentException">A limit that was asked for cannot be enforced here.</exception>
    public Cgroup Create(string id, CgroupLimits limits)
    {
        var cgroup = new Cgroup(this, id, time);
        cgroup.Apply(limits);
        return cgroup;
    }

    public async ValueTask DisposeAsync()
    {
        if (_owner is not null)
            await _owner.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>The hierarchies that limits need, made ready, each with controllers and the cgroup's path.</summary>
    internal IEnumerable<(CgroupHierarchy Hierarchy, CgroupControllers Controllers, string Directory)> DirectoriesFor(string id, CgroupLimits limits)
    {
        foreach (CgroupHierarchy hierarchy in hierarchies)
        {
            CgroupControllers controllers = hierarchy.Controllers & limits.Wanted;
            if (controllers == 0)
                continue;
            string directory = $"{hierarchy.BaseDirectory}/{Claim().Prefix}{id}";
            hierarchy.Enable(controllers);
            yield return (hierarchy, controllers, directory);
        }
    }

    private CgroupOwner Claim()
    {
        lock (_claiming)
            return _owner ??= CgroupOwner.Claim(stateDirectory, hierarchies.Select(h => h.BaseDirectory));
    }
}
