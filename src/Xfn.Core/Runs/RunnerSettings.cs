using Microsoft.Extensions.Logging;
using Xfn.Core.Bundles;
using Xfn.Core.Cgroups;
using Xfn.Core.Diagnostics;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Runs;

/// <summary>A runner's options, checked and copied, and what follows from them. A server adds limits first.</summary>
internal sealed class RunnerSettings(ContainerRunnerOptions options, IdMapping mapping)
{
    public ContainerRunnerOptions Options { get; } = options;

    public IdMapping Mapping { get; } = mapping;

    /// <summary>The memory limit of runs that ask for none; null for none.</summary>
    public long? DefaultMemoryBytes { get; set; } = options.DefaultMemoryBytes;

    /// <summary>Whether that was asked for, and not only thought best: it must hold then.</summary>
    public bool DefaultMemoryIsRequired { get; set; } = true;

    /// <summary>Processes and threads of a run.</summary>
    public int ProcessLimit { get; } = options.Bundle.ProcessLimit ?? BundleOptions.DefaultProcessLimit;

    /// <summary>Whether that was asked for and only a cgroup enforces it. In the default bundle a resource limit does,
    /// except for root of the machine, whatever it is called inside.</summary>
    public bool ProcessLimitTakesCgroup { get; } =
        options.Bundle.ProcessLimit is not null && !(options.BundleBuilder is null && Rlimits.CountsProcessesByNamespace && mapping.Uids[0].Outside != 0);

    /// <summary>What is known of a run's limits before the run.</summary>
    public CgroupLimits LimitsOfAll => new() { Pids = ProcessLimit, Expected = DefaultMemoryBytes is null ? CgroupControllers.None : CgroupControllers.Memory };

    public static RunnerSettings From(ContainerRunnerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ContainerRunnerOptions copy = options.CheckedCopy();
        BundleOptionsValidator.Validate(copy.Bundle);
        if (copy.BundleBuilder is null)
            BundleOptionsValidator.CheckSeccomp(copy.Bundle, copy.Runtime);
        IdMappingDecision decision = IdMappings.Decide(IdsOf(copy), new IdMachine());
        foreach (EnvironmentDiagnosis shared in copy.Logger.IsEnabled(LogLevel.Warning) ? decision.Shared : [])
            RunnerLog.IdsShared(copy.Logger, shared.Found, shared.Remedy);
        return new RunnerSettings(copy, decision.Mapping ?? throw decision.Refusal!.ToException(RunStage.Validate, "map ids"));
    }

    public static IdMappingWish IdsOf(ContainerRunnerOptions options) => new()
    {
        Method = options.IdMapping,
        RootUid = options.RootUid,
        RootGid = options.RootGid,
        CacheDirectory = options.CacheDirectory,
        HasLayers = mapping => options.EphemeralCacheParent is null && Cache.CacheDirectory.HasLayers(options.CacheDirectory, mapping),
    };
}
