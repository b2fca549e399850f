using Microsoft.Win32.SafeHandles;
using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>A spark that waits for its run, the pipes that it has made, and the cgroup that it is in. It knows nothing of any image yet.</summary>
internal sealed class RunSandbox : IReady, ISandbox
{
    private readonly SafeFileHandle? _release;
    private CgroupUsage _before = new();

    private RunSandbox(SparkProcess process, Stdio stdio, SafeFileHandle? release, Cgroup cgroup) => (Process, Stdio, _release, Cgroup) = (process, stdio, release, cgroup);

    public SparkProcess Process { get; }

    public Stdio Stdio { get; }

    public Cgroup Cgroup { get; }

    public bool IsAlive => !Process.Ended.IsCompleted;

    /// <summary>Makes one.</summary>
    /// <param name="mode"><c>run</c>, or <c>prepare</c> for a container that is to wait for its release.</param>
    /// <param name="sparks">What starts it.</param>
    /// <param name="storeDirectory">The store, where it starts.</param>
    /// <param name="piper">What opens its pipes.</param>
    /// <param name="cgroups">Where its cgroup is made.</param>
    /// <param name="limits">What is known of its limits by now.</param>
    /// <param name="cancellationToken">Ends the making.</param>
    public static async Task<RunSandbox> StartAsync(
        string mode, SparkLauncher sparks, string storeDirectory, IStdioPiper piper, CgroupManager cgroups, CgroupLimits limits, CancellationToken cancellationToken)
    {
        SparkProcess process = await sparks.StartAsync(mode, storeDirectory, cancellationToken).ConfigureAwait(false);
        Stdio? stdio = null;
        SafeFileHandle? release = null;
        Cgroup? cgroup = null;
        try
        {
            stdio = piper.Open(process.Stdio!);
            release = process.OpenRelease();
            cgroup = cgroups.Create($"{process.ProcessId}-{Guid.NewGuid():N}", limits);
            cgroup.Add(process.ProcessId);
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

    /// <summary>Starts the container; one with a gate waits then for <see cref="ReleaseAsync"/>.</summary>
    public async Task StartAsync(SparkRun message, CancellationToken cancellationToken)
    {
        await Process.SendAsync(message, cancellationToken).ConfigureAwait(false);
        await Process.ReceiveAsync<SparkStarted>(RunStage.Start, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Has a container that waits execute its function. One that has ended meanwhile says so as any that ends.</summary>
    public Task ReleaseAsync(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return Task.FromCanceled(cancellationToken);

        // An empty pipe takes a byte at once. That there is nobody to read it is what the run finds next.
        Posix.TryWrite(_release!, 1);
        return Task.CompletedTask;
    }

    public Task<SparkExited> WaitAsync() => Process.ReceiveAsync<SparkExited>(RunStage.Run, CancellationToken.None);

    public Task SignalAsync(int signal, CancellationToken cancellationToken) => Process.SendAsync(new SparkSignal(signal), cancellationToken);

    public void Kill() => Process.Kill();

    public Task<bool> WatchOutOfMemoryAsync(CancellationToken cancellationToken) => Cgroup.WatchOutOfMemoryAsync(cancellationToken);

    /// <summary>What was used up to now is not the function's.</summary>
    public void CountFromNow() => _before = Cgroup.Read();

    /// <summary>What the function has used.</summary>
    public CgroupUsage ReadUsage()
    {
        CgroupUsage usage = Cgroup.Read();
        return usage with { CpuTime = usage.CpuTime - (_before.CpuTime ?? TimeSpan.Zero) };
    }

    public async ValueTask DisposeAsync()
    {
        await Process.DisposeAsync().ConfigureAwait(false);
        Stdio.Dispose();
        _release?.Dispose();
        await Cgroup.DisposeAsync().ConfigureAwait(false);
    }
}
