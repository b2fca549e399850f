using Xfn.Core.Cgroups;
using Xfn.Core.Runs;

namespace Xfn.Core;

/// <content>What a server of this runner must know of it.</content>
public sealed partial class ContainerRunner
{
    private const long LeastDefaultMemory = 128 << 20;
    private const int DiskShare = 5;

    internal RunnerSettings Settings => _settings;

    /// <summary>Sets a server's limits where the options have none: for a function half of the machine's memory divided
    /// by the places for runs; for the cache a fifth of its disk. They hold where they can be enforced.</summary>
    internal ServerDefaults UseServerDefaults()
    {
        long? memory = _settings.DefaultMemoryBytes is null ? Math.Max(MachineMemory.Find() / 2 / _settings.Options.MaxConcurrency, LeastDefaultMemory) : null;
        long? cache = _keeper.Limit is null ? DiskBytes() / DiskShare : null;
        if (memory is not null)
            (_settings.DefaultMemoryBytes, _settings.DefaultMemoryIsRequired) = (memory, false);
        _keeper.Limit ??= cache;
        ControllerSupport support = _cgroups.Support.Controllers.First(c => c.Controller == CgroupControllers.Memory);
        return new ServerDefaults(memory, support.IsUsable ? null : $"the cgroup controller memory cannot be used, {support.Found}. {support.Remedy}", cache);
    }

    private long? DiskBytes()
    {
        try
        {
            return new DriveInfo(_cache.Store).TotalSize;
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}

/// <summary>The limits that a server set for its runner, where that had none.</summary>
/// <param name="MemoryBytes">The memory of functions that ask for none; null where the runner's options say.</param>
/// <param name="MemoryProblem">Why that is not enforced, and the remedy; null when it is.</param>
/// <param name="CacheBytes">What the cache may take; null where the options say or its disk cannot be measured.</param>
internal sealed record ServerDefaults(long? MemoryBytes, string? MemoryProblem, long? CacheBytes);
