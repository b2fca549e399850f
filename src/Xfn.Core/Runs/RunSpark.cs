using Xfn.Core.Cgroups;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Runs;

/// <summary>A spark that waits for its run, the pipes that it has made, and the cgroup that it is in. It knows nothing of any image yet.</summary>
internal sealed class RunSpark : IReady
{
    private RunSpark(SparkProcess process, Stdio stdio, Cgroup cgroup) => (Process, Stdio, Cgroup) = (process, stdio, cgroup);

    public SparkProcess Process { get; }

    public Stdio Stdio { get; }

    public Cgroup Cgroup { get; }

    public bool IsAlive => !Process.Ended.IsCompleted;

    public static async Task<RunSpark> StartAsync(SparkFactory sparks, IStdioPiper piper, CgroupManager cgroups, int processLimit, CancellationToken cancellationToken)
    {
        SparkProcess process = await sparks.StartAsync("run", "/", cancellationToken).ConfigureAwait(false);
        Stdio? stdio = null;
        Cgroup? cgroup = null;
        try
        {
            stdio = piper.Open(process.Stdio);
            cgroup = cgroups.Create($"{process.ProcessId}-{Guid.NewGuid():N}", new CgroupLimits { Pids = processLimit });
            cgroup.Add(process.ProcessId);
            return new RunSpark(process, stdio, cgroup);
        }
        catch
        {
            await process.DisposeAsync().ConfigureAwait(false);
            stdio?.Dispose();
            if (cgroup is not null)
                await cgroup.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Process.DisposeAsync().ConfigureAwait(false);
        Stdio.Dispose();
        await Cgroup.DisposeAsync().ConfigureAwait(false);
    }
}
