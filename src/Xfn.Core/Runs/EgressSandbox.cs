using Xfn.Core.Cgroups;
using Xfn.Core.Egress;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>A sandbox whose function has a way out. Its container waits at its gate until that is open; from then on its
/// spark is asked by requests with numbers.</summary>
internal sealed class EgressSandbox : ISandbox, IAsyncDisposable
{
    private readonly RunSandbox _sandbox;
    private readonly ContainerEgress _egress;
    private readonly SparkConversation _conversation;
    private readonly SparkDescriptors _descriptors;

    private EgressSandbox(RunSandbox sandbox, ContainerEgress egress)
    {
        (_sandbox, _egress) = (sandbox, egress);
        int spark = sandbox.Process.ProcessId;
        _conversation = new SparkConversation(sandbox.Process);
        _descriptors = new SparkDescriptors(Posix.TryOpenProcess(spark), spark, _conversation);
    }

    public Stdio Stdio => _sandbox.Stdio;

    /// <summary>Starts a container, and opens its way out. Its function begins with <see cref="ReleaseAsync"/>.</summary>
    /// <param name="sandbox">The sandbox, which stays the caller's to end, after this.</param>
    /// <param name="plan">The container.</param>
    /// <param name="egress">The way out, which is this one's to end, also when it cannot be opened.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <exception cref="SparkFailedException">The container could not be started, or was killed.</exception>
    /// <exception cref="XfnException">No way out can be had.</exception>
    public static async Task<EgressSandbox> StartAsync(RunSandbox sandbox, SparkRun plan, ContainerEgress egress, CancellationToken cancellationToken)
    {
        EgressSandbox? started = null;
        try
        {
            await sandbox.StartAsync(plan with { HasGate = true }, cancellationToken).ConfigureAwait(false);
            started = new EgressSandbox(sandbox, egress);
            await started.OpenAsync(cancellationToken).ConfigureAwait(false);
            return started;
        }
        catch
        {
            if (started is null)
                await egress.DisposeAsync().ConfigureAwait(false);
            else
                await started.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public Task ReleaseAsync(CancellationToken cancellationToken) => _sandbox.ReleaseAsync(cancellationToken);

    public async Task<SparkExited> WaitAsync() => await _conversation.Exited.ConfigureAwait(false) ?? throw _conversation.Failure!;

    public Task SignalAsync(int signal, CancellationToken cancellationToken)
    {
        _conversation.Post(new SparkSignal(0, signal));
        return Task.CompletedTask;
    }

    public void Kill() => _sandbox.Kill();

    public Task<bool> WatchOutOfMemoryAsync(CancellationToken cancellationToken) => _sandbox.WatchOutOfMemoryAsync(cancellationToken);

    public CgroupUsage ReadUsage() => _sandbox.ReadUsage();

    /// <summary>Closes the way out, and all connections through it.</summary>
    public async ValueTask DisposeAsync()
    {
        await _egress.DisposeAsync().ConfigureAwait(false);
        _descriptors.Dispose();
    }

    private async Task OpenAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var network = new ContainerNetwork(_conversation, _descriptors, isOwn: true);
            await _egress.OpenAsync(network, cancellationToken).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw ContainerNetwork.Refused(ex);
        }
        catch (SparkGoneException ex)
        {
            // One that was killed while it waited: spark knows more.
            _ = await WaitAsync().ConfigureAwait(false);
            throw new ContainerEnvironmentException(RunStage.Start, "cannot open the way out of a container: it ended before its function began.", ex);
        }

        _sandbox.CountFromNow();
    }
}
