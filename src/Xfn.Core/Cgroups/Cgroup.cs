using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>A run's cgroup: a directory in each hierarchy that its limits need; none when they need none.</summary>
/// <remarks>For one thread at a time, except <see cref="Kill"/>. Disposal kills what is in it and removes it.</remarks>
internal sealed class Cgroup(CgroupManager manager, string id, TimeProvider time) : IAsyncDisposable
{
    // Dying processes keep a cgroup busy until their memory is freed: microseconds, or seconds for gigabytes.
    private static readonly TimeSpan RemovalTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan OutOfMemoryPeriod = TimeSpan.FromMilliseconds(50);

    /// <summary>How many periods the kernel may take to kill once it has told: a second.</summary>
    private const int LooksAfterEvent = 20;

    private readonly List<int> _processes = [];
    private volatile (CgroupHierarchy Hierarchy, string Directory)[] _groups = [];
    private CgroupLimits? _applied;
    private bool _survivesOutOfMemory;
    private CgroupControllers _required;

    /// <summary>The directories, one for each hierarchy used.</summary>
    public IEnumerable<string> Directories => _groups.Select(p => p.Directory);

    /// <summary>Sets limits of a cgroup that was made before they were known, also for processes in it.</summary>
    /// <exception cref="ContainerEnvironmentException">A limit that was asked for cannot be enforced here.</exception>
    public void Apply(CgroupLimits limits)
    {
        _required |= limits.Required;

        // Most runs ask for nothing beyond what was set as the cgroup was made.
        if (_applied is { } set && (limits.MemoryBytes, limits.CpuMilli, limits.Pids, limits.PidsAreRequired) == (set.MemoryBytes, set.CpuMilli, set.Pids, set.PidsAreRequired))
            return;
        manager.Require(limits);
        string? current = null;
        try
        {
            foreach ((CgroupHierarchy hierarchy, CgroupControllers controllers, string directory) in manager.DirectoriesFor(id, limits))
            {
                current = directory;
                bool isNew = !Array.Exists(_groups, p => p.Directory == directory);
                if (isNew)
                {
                    Directory.CreateDirectory(directory);
                    _groups = [.. _groups, (hierarchy, directory)];
                }

                hierarchy.Apply(directory, limits, controllers);
                if (isNew)
                    _processes.ForEach(process => Move(process, directory));
                _survivesOutOfMemory |= hierarchy is CgroupV1Hierarchy && controllers.HasFlag(CgroupControllers.Memory);
            }

            _applied = limits;
        }
        catch (Exception e) when (CgroupFile.IsFileError(e))
        {
            TryRemove();
            throw new ContainerEnvironmentException(
                RunStage.Spawn, $"cannot set limits in cgroup '{current ?? id}': {e.Message}. See whether its parent is still delegated to this program.", e);
        }
    }

    /// <summary>Moves a process in, with all its threads; what it starts from then on is in it too.</summary>
    /// <remarks>Takes some 10 ms if none was moved in the last 10: an RCU grace period. Do it ahead of need.</remarks>
    /// <exception cref="XfnException">The process has ended, or may not be moved.</exception>
    public void Add(int processId)
    {
        _processes.Add(processId);
        foreach ((_, string directory) in _groups)
            Move(processId, directory);
    }

    /// <summary>What was used so far. Ask before removal.</summary>
    /// <exception cref="ContainerEnvironmentException">A limit that was asked for does not hold any more.</exception>
    public CgroupUsage Read()
    {
        var usage = new CgroupUsage();
        foreach ((CgroupHierarchy hierarchy, string directory) in _groups)
        {
            if (hierarchy.FindLost(directory, hierarchy.Controllers & _required) is not CgroupControllers.None and var lost)
            {
                throw new ContainerEnvironmentException(
                    RunStage.Run,
                    $"cannot keep the limits of cgroup '{directory}': the controllers {string.Join(", ", CgroupSupport.Names(lost))} were taken from it while the run went on. "
                        + "systemd does so to units that it did not delegate: run this program in one with Delegate=yes.");
            }

            usage = hierarchy.Read(directory, usage);
        }

        return usage;
    }

    /// <summary>Ends with true when the kernel has killed one process for want of memory; the caller kills the others.
    /// Ends with false without a memory limit, and on version 2, where the kernel kills all.</summary>
    public async Task<bool> WatchOutOfMemoryAsync(CancellationToken cancellationToken)
    {
        if (!_survivesOutOfMemory)
            return false;
        using var timer = new PeriodicTimer(OutOfMemoryPeriod, time);
        while (await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false))
        {
            if (Read().OutOfMemoryKills > 0)
                return true;
        }

        return false;
    }

    /// <summary>The same for a container that lives: while nothing happens this costs nothing, where the kernel tells
    /// of it by itself.</summary>
    /// <inheritdoc cref="WatchOutOfMemoryAsync"/>
    public async Task<bool> WaitForOutOfMemoryAsync(CancellationToken cancellationToken)
    {
        if (!_survivesOutOfMemory)
            return false;
        string directory = _groups.First(group => group.Hierarchy is CgroupV1Hierarchy && group.Hierarchy.Controllers.HasFlag(CgroupControllers.Memory)).Directory;
        using OutOfMemoryEvents? events = OutOfMemoryEvents.TryRegister(directory);
        if (events is null)
            return await WatchOutOfMemoryAsync(cancellationToken).ConfigureAwait(false);
        while (Read().OutOfMemoryKills == 0)
        {
            // The kernel tells first, and kills then; what it freed may also have been enough.
            await events.WaitAsync(cancellationToken).ConfigureAwait(false);
            for (int look = 0; look < LooksAfterEvent && Read().OutOfMemoryKills == 0; look++)
                await Task.Delay(OutOfMemoryPeriod, time, cancellationToken).ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>What is used now: bytes of memory, and processes. Null is unknown: no cgroup counts it.</summary>
    public (long? MemoryBytes, int? Processes) ReadNow()
    {
        (long? memory, int? processes) = (null, null);
        foreach ((CgroupHierarchy hierarchy, string directory) in _groups)
        {
            memory ??= hierarchy.ReadMemory(directory);
            processes ??= CgroupFile.ReadProcesses(directory).Length;
        }

        return (memory, processes);
    }

    /// <summary>Sends SIGKILL to every process in it. Does not wait for their end.</summary>
    public void Kill()
    {
        foreach ((_, string directory) in _groups)
            CgroupRemoval.Kill(directory);
    }

    /// <summary>Removes it, unless there are processes in it yet.</summary>
    public bool TryRemove()
    {
        _groups = [.. _groups.Where(p => !CgroupRemoval.TryRemove(p.Directory))];
        return _groups.Length == 0;
    }

    public async ValueTask DisposeAsync()
    {
        // What cannot be removed by then is left to the manager's disposal, or to the next process's sweep.
        long start = time.GetTimestamp();
        for (int wait = 1; !TryRemove() && time.GetElapsedTime(start) < RemovalTimeout; wait = Math.Min(wait * 2, 100))
        {
            Kill();
            await Task.Delay(TimeSpan.FromMilliseconds(wait), time).ConfigureAwait(false);
        }
    }

    private static void Move(int processId, string directory)
    {
        try
        {
            CgroupFile.Write(directory, "cgroup.procs", processId);
        }
        catch (IOException e) when (e.HResult == Libc.ESRCH)
        {
            throw new XfnException(RunStage.Spawn, $"cannot move process '{processId}' into cgroup '{directory}': it has ended.", e);
        }
        catch (Exception e) when (CgroupFile.IsFileError(e))
        {
            throw new ContainerEnvironmentException(
                RunStage.Spawn,
                $"cannot move process '{processId}' into cgroup '{directory}': {e.Message}. Both its old and its new cgroup must be delegated to this program.",
                e);
        }
    }
}
