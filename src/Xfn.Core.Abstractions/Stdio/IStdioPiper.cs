namespace Xfn.Core;

/// <summary>Connects a run to its function's standard streams.</summary>
public interface IStdioPiper
{
    /// <summary>Opens the runner's ends of the pipes that another process made.</summary>
    /// <param name="pipes">Where they are.</param>
    /// <exception cref="IOException">A pipe could not be opened.</exception>
    /// <exception cref="ContainerEnvironmentException">What was opened is no pipe.</exception>
    Stdio Open(StdioDescriptors pipes);
}

/// <summary>Three pipes that a process made for its function, as the numbers of the runner's ends among that process's descriptors.</summary>
/// <param name="ProcessId">The process, which runs as the caller still.</param>
/// <param name="Stdin">The end to write to.</param>
/// <param name="Stdout">The end to read from.</param>
/// <param name="Stderr">The end to read from.</param>
/// <param name="Uid">The machine's user id of the function's root, to own the pipes where that may be set.</param>
/// <param name="Gid">Likewise its group id.</param>
public readonly record struct StdioDescriptors(int ProcessId, int Stdin, int Stdout, int Stderr, uint Uid, uint Gid);

/// <summary>The runner's ends of a function's standard streams. Disposal closes them.</summary>
public abstract class Stdio : IDisposable
{
    /// <summary>Written by the runner, read by the function; disposed to tell its end.</summary>
    public abstract Stream Stdin { get; }

    /// <summary>Read by the runner.</summary>
    public abstract Stream Stdout { get; }

    /// <summary>Read by the runner.</summary>
    public abstract Stream Stderr { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes the streams.</summary>
    /// <param name="disposing">Whether called by <see cref="Dispose()"/>.</param>
    protected virtual void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        Stdin.Dispose();
        Stdout.Dispose();
        Stderr.Dispose();
    }
}
