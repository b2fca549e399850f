using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>A program in namespaces of its own, which is killed by a descriptor once it is known who it is: its id may
/// be another's by the time that this hears of its end.</summary>
internal abstract class HeldProgram : SpawnedNamespace
{
    private readonly Lock _lock = new();
    private SafeFileHandle? _program;

    /// <summary>Waits for its end, if it is known. Once at a time.</summary>
    protected async Task WaitForEndAsync()
    {
        SafeFileHandle? program;
        lock (_lock)
            program = _program is { IsClosed: false } known && Posix.IsAlive(known) ? known : null;
        if (program is not null)
            await DescriptorEvents.WaitAsync(program, DescriptorEvents.Readable, CancellationToken.None).ConfigureAwait(false);
    }

    public override Task MapIdsAsync(int processId, CancellationToken cancellationToken = default)
    {
        try
        {
            // One that has ended already is not there to be held.
            SafeFileHandle? program = Posix.TryOpenProcess(processId);
            lock (_lock)
                _program = program;
            return MapHeldAsync(processId, cancellationToken);
        }
        catch (IOException ex)
        {
            throw new ContainerEnvironmentException(RunStage.Spawn, $"{ex.Message}. See that this user has descriptors left (ulimit -n).", ex);
        }
    }

    public override void Kill()
    {
        lock (_lock)
        {
            if (_program is null)
                KillUnheld();
            else if (!_program.IsClosed)
                Posix.Signal(_program, Posix.SigKill);
        }
    }

    public override async ValueTask DisposeAsync()
    {
        Kill();

        // A program whose id is not known yet may have been missed: it ends when its stdin does.
        await Input.DisposeAsync().ConfigureAwait(false);
        await Ended.ConfigureAwait(false);
        await Output.DisposeAsync().ConfigureAwait(false);
        lock (_lock)
            _program?.Dispose();
    }

    /// <summary>Maps its ids.</summary>
    protected abstract Task MapHeldAsync(int processId, CancellationToken cancellationToken);

    /// <summary>Kills it while its id is not known, or when it had ended by then.</summary>
    protected abstract void KillUnheld();
}
