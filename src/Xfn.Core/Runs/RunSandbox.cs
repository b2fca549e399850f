using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Cache;
using Xfn.Core.Cgroups;
using Xfn.Core.Diagnostics;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>A spark that waits for its run, with its pipes and its cgroup. It knows nothing of any image yet.</summary>
/// <param name="process">The spark.</param>
/// <param name="stdio">The runner's ends of its pipes.</param>
/// <param name="release">The runner's end of the pipe that releases a waiting container; null for none.</param>
/// <param name="cgroup">Its cgroup.</param>
/// <param name="clearUp">What is done when all processes have ended; null for nothing.</param>
internal sealed class RunSandbox(SparkProcess process, Stdio stdio, SafeFileHandle? release, Cgroup cgroup, Func<Task>? clearUp) : IReady, ISandbox
{
    private CgroupUsage _before = new();

    public Stdio Stdio => stdio;

    public SparkProcess Process => process;

    public Cgroup Cgroup => cgroup;

    public bool IsAlive => !process.Ended.IsCompleted;

    /// <summary>Starts the container; one with a gate waits then for <see cref="ReleaseAsync"/>.</summary>
    public async Task<SparkStarted> StartAsync(SparkRun plan, CancellationToken cancellationToken)
    {
        await process.SendAsync(plan, cancellationToken).ConfigureAwait(false);
        return await process.ReceiveAsync<SparkStarted>(RunStage.Start, cancellationToken).ConfigureAwait(false);
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

    /// <summary>Ends all of it but the pipes, which may be read to their end.</summary>
    public async ValueTask EndAsync()
    {
        await process.DisposeAsync().ConfigureAwait(false);
        release?.Dispose();
        await cgroup.DisposeAsync().ConfigureAwait(false);
        if (clearUp is not null)
            await clearUp().ConfigureAwait(false);
    }

    /// <summary>Ends one that may not have started yet, and lets go of its image.</summary>
    public static async Task ClearUpAsync(Task<RunSandbox> starting, LeasedImage? lease, ILogger logger)
    {
        try
        {
            await (await starting.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception ex) when (starting.IsFaulted || starting.IsCanceled)
        {
            // It never came to be, and whoever wanted it, if it got so far, was told why.
            RunnerLog.SparkNotStarted(logger, ex);
        }
        finally
        {
            lease?.Dispose();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await EndAsync().ConfigureAwait(false);
        stdio.Dispose();
    }
}

internal sealed class SandboxFactory(SparkLauncher sparks, CacheDirectory cache, LayerStore layers, IStdioPiper piper, CgroupManager cgroups, RunnerSettings settings)
{
    private static readonly SparkSettle _settle = new();

    /// <summary>Makes one whose function is executed as its container starts.</summary>
    public Task<RunSandbox> StartAsync(CancellationToken cancellationToken) => StartAsync(SparkMode.Run, null, cancellationToken);

    /// <summary>Makes one that can mount what was looked at.</summary>
    public Task<RunSandbox> StartAsync(HostMounts mounts, CancellationToken cancellationToken) => StartAsync(SparkMode.Run, mounts, cancellationToken);

    /// <summary>Makes one whose container can wait for its release.</summary>
    public Task<RunSandbox> StartWithGateAsync(HostMounts? mounts, CancellationToken cancellationToken) => StartAsync(SparkMode.Prepare, mounts, cancellationToken);

    /// <inheritdoc cref="HostMounts.Of"/>
    public HostMounts? LookAtMounts(CheckedRequest request) => HostMounts.Of(request, cache);

    private async Task<RunSandbox> StartAsync(string mode, HostMounts? mounts, CancellationToken cancellationToken)
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
            await process.SendAsync(mounts is null ? _settle : new SparkSettle { Paths = mounts.Open() }, cancellationToken).ConfigureAwait(false);
            return new RunSandbox(process, stdio, release, cgroup, mounts is null ? null : () => mounts.RemoveAsync(layers.TryRemoveAsync));
        }
        catch
        {
            await process.DisposeAsync().ConfigureAwait(false);
            stdio?.Dispose();
            release?.Dispose();
            if (cgroup is not null)
                await cgroup.DisposeAsync().ConfigureAwait(false);
            if (mounts is not null)
                await mounts.RemoveAsync(layers.TryRemoveAsync).ConfigureAwait(false);
            throw;
        }
    }
}
