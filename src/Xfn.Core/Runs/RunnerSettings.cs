using Microsoft.Extensions.Logging;
using Xfn.Core.Bundles;
using Xfn.Core.Cgroups;
using Xfn.Core.Diagnostics;
using Xfn.Core.Layers;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Runs;

/// <summary>The options of a runner, checked and copied.</summary>
internal sealed record RunnerSettings
{
    private RunnerSettings()
    {
    }

    public required IdMapping Mapping { get; init; }

    public required string CacheDirectory { get; init; }

    /// <summary>Where an ephemeral cache is made; null to use <see cref="CacheDirectory"/>.</summary>
    public required string? EphemeralCacheParent { get; init; }

    public required long? CacheLimit { get; init; }

    /// <summary>The memory limit of runs that ask for none; null for none.</summary>
    public required long? DefaultMemoryBytes { get; init; }

    /// <summary>Whether that was asked for, and not only thought best: it must hold then.</summary>
    public bool DefaultMemoryIsRequired { get; init; } = true;

    public required string DefaultRegistry { get; init; }

    public required ILogger Logger { get; init; }

    /// <summary>The OCI runtime; null for xfn-spark's own.</summary>
    public required string? Runtime { get; init; }

    public required string? SparkPath { get; init; }

    public required long MaxStdioBytes { get; init; }

    public required int MaxConcurrency { get; init; }

    public required int MaxQueuedRuns { get; init; }

    public required int ReadyNamespaces { get; init; }

    /// <summary>Processes and threads of a run.</summary>
    public required int ProcessLimit { get; init; }

    /// <summary>Whether that was asked for and nothing but a cgroup enforces it.</summary>
    public required bool ProcessLimitTakesCgroup { get; init; }

    public required UnpackLimits UnpackLimits { get; init; }

    public required TimeProvider Time { get; init; }

    /// <summary>Checks options; a wrong one is named.</summary>
    public static RunnerSettings From(ContainerRunnerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentException.ThrowIfNullOrWhiteSpace(options.CacheDirectory);
        if (options.EphemeralCacheParent is not null)
            ArgumentException.ThrowIfNullOrWhiteSpace(options.EphemeralCacheParent);
        if (options.Runtime is not null)
            ArgumentException.ThrowIfNullOrWhiteSpace(options.Runtime);
        ArgumentNullException.ThrowIfNull(options.Logger);
        ArgumentNullException.ThrowIfNull(options.TimeProvider);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.MaxStdioBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.MaxStdioBytes, Array.MaxLength, "options.MaxStdioBytes");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.MaxConcurrency);
        ArgumentOutOfRangeException.ThrowIfNegative(options.CacheLimit ?? 0, "options.CacheLimit");
        ArgumentOutOfRangeException.ThrowIfNegative(options.MaxQueuedRuns);
        ArgumentOutOfRangeException.ThrowIfNegative(options.ReadyNamespaces);
        ArgumentNullException.ThrowIfNull(options.Registry);
        ArgumentNullException.ThrowIfNull(options.Bundle);
        BundleOptionsValidator.Validate(options.Bundle);
        if (options.BundleBuilder is null)
            BundleOptionsValidator.CheckSeccomp(options.Bundle, options.Runtime);
        ArgumentNullException.ThrowIfNull(options.UnpackLimits);
        options.UnpackLimits.Validate();
        CheckRoot(options.RootUid, "options.RootUid", ContainerRunner.UserNamespaceUIDs);
        CheckRoot(options.RootGid, "options.RootGid", ContainerRunner.UserNamespaceGIDs);
        if (!ImageReference.TryParse("x", options.DefaultRegistry ?? "", out _, out string? error))
            throw new ArgumentException($"cannot use '{options.DefaultRegistry}' as the default registry: {error}", nameof(options));
        IdMapping mapping = DecideIds(options);
        return new RunnerSettings
        {
            Mapping = mapping,
            CacheDirectory = options.CacheDirectory,
            EphemeralCacheParent = options.EphemeralCacheParent,
            CacheLimit = options.CacheLimit,
            DefaultMemoryBytes = ParseMemory(options.DefaultMemory),
            DefaultRegistry = options.DefaultRegistry!,
            Logger = options.Logger,
            Runtime = options.Runtime,
            SparkPath = options.SparkPath,
            MaxStdioBytes = options.MaxStdioBytes,
            MaxConcurrency = options.MaxConcurrency,
            MaxQueuedRuns = options.MaxQueuedRuns,
            ReadyNamespaces = options.ReadyNamespaces,
            ProcessLimit = options.Bundle.ProcessLimit ?? BundleOptions.DefaultProcessLimit,
            ProcessLimitTakesCgroup = options.Bundle.ProcessLimit is not null && !IsHeldByResourceLimit(options, mapping),
            UnpackLimits = options.UnpackLimits,
            Time = options.TimeProvider,
        };
    }

    /// <summary>How the options want ids to be mapped.</summary>
    public static IdMappingWish IdsOf(ContainerRunnerOptions options) => new()
    {
        Method = options.UseSetUID switch { true => IdMappingMethod.Capabilities, false => IdMappingMethod.Self, null => null },
        RootUid = options.RootUid,
        RootGid = options.RootGid,
        CacheDirectory = options.CacheDirectory,
        HasLayers = mapping => options.EphemeralCacheParent is null && Cache.CacheDirectory.HasLayers(options.CacheDirectory, mapping),
    };

    private static IdMapping DecideIds(ContainerRunnerOptions options)
    {
        IdMappingDecision decision = IdMappings.Decide(IdsOf(options), new IdMachine());
        foreach (EnvironmentDiagnosis shared in decision.Shared)
            RunnerLog.IdsShared(options.Logger, shared.Found, shared.Remedy);
        return decision.Mapping ?? throw decision.Refusal!.ToException(RunStage.Validate, "map ids");
    }

    private static long? ParseMemory(string? memory)
    {
        try
        {
            return memory is null ? null : ResourceQuantity.ParseMemory(memory, "option DefaultMemory");
        }
        catch (InvalidRequestException ex)
        {
            throw new ArgumentException(ex.Message, nameof(memory), ex);
        }
    }

    /// <summary>Whether the default bundle's resource limit of processes holds: the kernel lets root of the machine go beyond, whatever it is called inside.</summary>
    private static bool IsHeldByResourceLimit(ContainerRunnerOptions options, IdMapping mapping) =>
        options.BundleBuilder is null && Rlimits.CountsProcessesByNamespace && mapping.Uids[0].Outside != 0;

    /// <summary>Root inside must never be root outside by way of this option, and all ids must exist.</summary>
    private static void CheckRoot(uint? id, string option, uint count)
    {
        if (id == 0 || id > uint.MaxValue - count)
        {
            throw new ArgumentOutOfRangeException(
                option, id, $"cannot map {count} ids from {id}: expected 1 to {uint.MaxValue - count}. To map the caller itself to root, use SetUID(false).");
        }
    }
}
