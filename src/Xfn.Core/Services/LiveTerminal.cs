using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>The host's end of a terminal of a program in a container.</summary>
internal sealed class LiveTerminal : IDisposable
{
    private readonly SafeFileHandle _master;

    // Each direction waits by a descriptor of its own, and a third sets the size.
    private LiveTerminal(SafeFileHandle master) =>
        (_master, Input, Output) = (master, new TerminalStream(Posix.Duplicate(master), isRead: false), new TerminalStream(Posix.Duplicate(master), isRead: true));

    /// <summary>What is typed.</summary>
    public TerminalStream Input { get; }

    /// <summary>What is shown.</summary>
    public TerminalStream Output { get; }

    /// <summary>Takes what a spark has handed over, and closes what is no terminal.</summary>
    /// <exception cref="ContainerEnvironmentException">It is none.</exception>
    public static LiveTerminal Of(SafeFileHandle master)
    {
        if (Posix.IsTerminalMaster(master))
            return new LiveTerminal(master);
        master.Dispose();
        throw new ContainerEnvironmentException(RunStage.Run, "cannot use what xfn-spark handed over: it is no terminal. Stop the container: it may have taken over its xfn-spark.");
    }

    /// <exception cref="ArgumentOutOfRangeException">It is no size.</exception>
    public void Resize(TerminalSize size)
    {
        ExecPlanner.Check(size);
        if (!_master.IsClosed)
            Posix.Resize(_master, size.Rows, size.Columns);
    }

    public void Dispose()
    {
        Input.Dispose();
        Output.Dispose();
        _master.Dispose();
    }
}
