using System.IO.Pipes;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core;

/// <summary>Opens a function's pipes through <c>/proc</c>: the default.</summary>
/// <remarks>The function's root owns the pipes where that may be set, so that it can open <c>/dev/stdin</c> and its
/// like anew. Reading and writing block no thread.</remarks>
public sealed class StdioPipes : IStdioPiper
{
    /// <inheritdoc/>
    public Stdio Open(StdioDescriptors pipes)
    {
        ArgumentNullException.ThrowIfNull(pipes);
        AnonymousPipeClientStream? stdin = null, stdout = null;
        try
        {
            stdin = Open(pipes, pipes.Stdin, PipeDirection.Out);
            stdout = Open(pipes, pipes.Stdout, PipeDirection.In);
            return new Stdio(stdin, stdout, Open(pipes, pipes.Stderr, PipeDirection.In));
        }
        catch
        {
            stdin?.Dispose();
            stdout?.Dispose();
            throw;
        }
    }

    private static AnonymousPipeClientStream Open(StdioDescriptors pipes, int descriptor, PipeDirection direction)
    {
        string path = $"/proc/{pipes.ProcessId}/fd/{descriptor}";
        var pipe = new SafePipeHandle(Posix.OpenNonBlocking(path, direction == PipeDirection.In ? FileAccess.Read : FileAccess.Write), ownsHandle: true);

        // Whatever else it is, another process's or the machine's, must not be given away.
        if (!Posix.IsPipe(pipe))
        {
            pipe.Dispose();
            throw new ContainerEnvironmentException(RunStage.Spawn, $"cannot open '{path}': it is no pipe. Have /proc show this program's own PID namespace.");
        }

        // Only root may. For others the mode, open to all who can name the pipe, lets the function open it anew.
        Posix.TryChangeOwner(pipe, pipes.Uid, pipes.Gid);
        return new AnonymousPipeClientStream(direction, pipe);
    }
}
