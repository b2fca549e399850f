using Microsoft.Win32.SafeHandles;
using Xfn.Core.Egress;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>A sandbox whose container has been started, and what it is spoken to with.</summary>
/// <param name="Sandbox">The sandbox.</param>
/// <param name="Lease">What keeps its layers.</param>
/// <param name="Conversation">What is asked of its spark.</param>
/// <param name="Descriptors">What is taken from its spark.</param>
/// <param name="First">The container's first process; null when it had ended before it was looked at.</param>
internal sealed record StartedSandbox(RunSandbox Sandbox, LeasedImage Lease, SparkConversation Conversation, SparkDescriptors Descriptors, FirstProcess? First)
{
    public StoredImage Image => Lease.Image;

    /// <summary>The terminal of its first process; null for none.</summary>
    public LiveTerminal? Terminal { get; private init; }

    /// <summary>The container's way out; null for none.</summary>
    public ContainerEgress? Egress { get; init; }

    /// <summary>Begins to speak with a sandbox whose container has been started. All of it is this one's to end then.
    /// </summary>
    /// <exception cref="ContainerEnvironmentException">Descriptors cannot be had.</exception>
    public static async Task<StartedSandbox> TakeOverAsync(RunSandbox sandbox, SparkStarted started, LeasedImage lease, CancellationToken cancellationToken)
    {
        SafeFileHandle? spark = Posix.TryOpenProcess(sandbox.Process.ProcessId);
        var conversation = new SparkConversation(sandbox.Process);
        var descriptors = new SparkDescriptors(spark, sandbox.Process.ProcessId, conversation);
        LiveTerminal? terminal = null;
        try
        {
            // A spark that has made one waits with its end until it is taken.
            terminal = started.Terminal < 0 ? null : LiveTerminal.Of((await descriptors.TakeAsync([started.Terminal], cancellationToken).ConfigureAwait(false))[0]);
            FirstProcess? first = FirstProcess.Of(await descriptors.CopyAsync(started.Descriptor, cancellationToken).ConfigureAwait(false));
            return new StartedSandbox(sandbox, lease, conversation, descriptors, first) { Terminal = terminal };
        }
        catch (SparkGoneException)
        {
            return new StartedSandbox(sandbox, lease, conversation, descriptors, null) { Terminal = terminal };
        }
        catch
        {
            terminal?.Dispose();
            descriptors.Dispose();
            throw;
        }
    }

    /// <summary>Ends all of it but the pipes.</summary>
    public async Task EndAsync()
    {
        try
        {
            await Sandbox.EndAsync().ConfigureAwait(false);
        }
        finally
        {
            if (Egress is not null)
                await Egress.DisposeAsync().ConfigureAwait(false);
            Descriptors.Dispose();
            First?.Dispose();
            Lease.Dispose();
        }
    }
}
