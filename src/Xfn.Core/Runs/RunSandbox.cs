using Microsoft.Win32.SafeHandles;
using Xfn.Core.Cache;
using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>A spark that waits for its run, with its pipes and its cgroup. It knows nothing of any image yet.</summary>
internal sealed class RunSandbox(SparkProcess process, Stdio stdio, SafeFileHandle? release, Cgroup cgroup) : IReady, ISandbox
{
    private CgroupUsage _before = new();

    public Stdio Stdio => stdio;

    public Cgroup Cgroup => cgroup;

    public bool IsAlive => !process.Ended.IsCompleted;

    /// <summary>Starts the container; one with a gate waits then for <see cref="ReleaseAsync"/>.</summary>
    public async Task StartAsync(SparkRun plan, CancellationToken cancellationToken)
    {
        await process.SendAsync(plan, cancellationToken).ConfigureAwait(false);
        await process.ReceiveAsync<SparkStarted>(RunStage.Start, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Lets a waiting container execute its function. One that has ended says so as any other does.</summary>
    public Task ReleaseAsync(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return Task.FromCanceled(cancellationToken);

        // An empty pipe takes a byte at once. That there is nobody to read it is what the run finds next.
        Posix.TryWrite(release!, 1);
        return Task.CompletedTask;
    }

    public Task<SparkExited> WaitAsync() => process.ReceiveAsync<SparkExited>(RunStage.Run, CancellationToken.None);

    public Task SignalAsync(int signal, CancellationToken cancellationToken) => process.SendAsync(new SparkSignal(0, signal), cancellationToken);

    public void Kill() => process.Kill();

    public Task<bool> WatchOutOfMemoryAsync(CancellationToken cancellationToken) => cgroup.WatchOutOfMemoryAsync(cancellationToken);

    /// <summary>What was used up to now is not the function's.</summary>
    public void CountFromNow() => _before = cgroup.Read();

    public CgroupUsage ReadUsage()
    {
        CgroupUsage usage = cgroup.Read();
        return usage with { CpuTime = usage.CpuTime - (_before.CpuTime ?? TimeSpan.Zero) };
    }

    public async ValueTask DisposeAsync()
    {
        await process.DisposeAsync().ConfigureAwait(false);
        stdio.Dispose();
        release?.Dispose();
        await cgroup.DisposeAsync().ConfigureAwait(false);
    }
}

internal sealed class SandboxFactory(SparkLauncher sparks, CacheDirectory cache, IStdioPiper piper, CgroupManager cgroups, RunnerSettings settings)
{
    /// <summary>Makes one whose function is executed as its container starts.</summary>
    public Task<RunSandbox> StartAsync(CancellationToken cancellationToken) => StartAsync(SparkMode.Run, cancellationToken);

    /// <summary>Makes one whose container can wait for its release.</summary>
    public Task<RunSandbox> StartWithGateAsync(CancellationToken cancellationToken) => StartAsync(SparkMode.Prepare, cancellationToken);

    private async Task<RunSandbox> StartAsync(string mode, CancellationToken cancellationToken)
    {
        SparkProcess process = await sparks.StartAsync(mode, cache.Store, cancellationToken).ConfigureAwait(false);
        Stdio? stdio = null;
        SafeFileHandle? release = null;
        Cgroup? cgroup = null;
        try
        {
            stdio = piper.Open(process.Stdio!);
            release = process.OpenRelease();
            cgroup = cgroups.Create($"{process.ProcessId}-{Guid.NewGuid():N}", settings.LimitsOfAll);
            cgroup.Add(process.ProcessId);

            // Only now: a spark that has settled is root, and its caller may not open its pipes any more.
            await process.SendAsync(new SparkSettle(), cancellationToken).ConfigureAwait(false);
            return new RunSandbox(process, stdio, release, cgroup);
        }
        catch
        {
            await process.DisposeAsync().ConfigureAwait(false);
            stdio?.Dispose();
            release?.Dispose();
            if (cgroup is not null)
                await cgroup.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
