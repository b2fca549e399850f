using Xfn.Core.Bundles;
using Xfn.Core.Diagnostics;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Runs;

/// <summary>The options of a runner, checked and copied, and what follows from them on this machine.</summary>
/// <param name="Options">The copy.</param>
/// <param name="Mapping">Which ids functions get.</param>
internal sealed record RunnerSettings(ContainerRunnerOptions Options, IdMapping Mapping)
{
    /// <summary>The memory limit of runs that ask for none; null for none.</summary>
    public long? DefaultMemoryBytes { get; init; } = Options.DefaultMemoryBytes;

    /// <summary>Whether that was asked for, and not only thought best: it must hold then.</summary>
    public bool DefaultMemoryIsRequired { get; init; } = true;

    /// <summary>How many bytes the cache may take; null for no limit.</summary>
    public long? CacheLimit { get; init; } = Options.CacheLimit;

    /// <summary>Processes and threads of a run.</summary>
    public int ProcessLimit { get; } = Options.Bundle.ProcessLimit ?? BundleOptions.DefaultProcessLimit;

    /// <summary>Whether that was asked for and nothing but a cgroup enforces it.</summary>
    public bool ProcessLimitTakesCgroup { get; } = Options.Bundle.ProcessLimit is not null && !IsHeldByResourceLimit(Options, Mapping);

    /// <summary>Checks options; a wrong one is named.</summary>
    public static RunnerSettings From(ContainerRunnerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ContainerRunnerOptions copy = options.CheckedCopy();
        BundleOptionsValidator.Validate(copy.Bundle);
        if (copy.BundleBuilder is null)
            BundleOptionsValidator.CheckSeccomp(copy.Bundle, copy.Runtime);
        IdMappingDecision decision = IdMappings.Decide(IdsOf(copy), new IdMachine());
        foreach (EnvironmentDiagnosis shared in decision.Shared)
            RunnerLog.IdsShared(copy.Logger, shared.Found, shared.Remedy);
        return new RunnerSettings(copy, decision.Mapping ?? throw decision.Refusal!.ToException(RunStage.Validate, "map ids"));
    }

    /// <summary>How the options want ids to be mapped.</summary>
    public static IdMappingWish IdsOf(ContainerRunnerOptions options) => new()
    {
        Method = options.IdMapping,
        RootUid = options.RootUid,
        RootGid = options.RootGid,
        CacheDirectory = options.CacheDirectory,
        HasLayers = mapping => options.EphemeralCacheParent is null && Cache.CacheDirectory.HasLayers(options.CacheDirectory, mapping),
    };

    /// <summary>Whether the default bundle's resource limit of processes holds: the kernel lets root of the machine go beyond, whatever it is called inside.</summary>
    private static bool IsHeldByResourceLimit(ContainerRunnerOptions options, IdMapping mapping) =>
        options.BundleBuilder is null && Rlimits.CountsProcessesByNamespace && mapping.Uids[0].Outside != 0;
}
