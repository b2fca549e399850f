namespace Xfn.Core;

/// <summary>Makes the pipes between a run and its function.</summary>
public interface IStdioPiper
{
    /// <summary>Makes three named pipes, <c>stdin</c>, <c>stdout</c> and <c>stderr</c>, that another process opens by name.</summary>
    /// <param name="directory">An existing directory that only the caller reaches.</param>
    /// <param name="uid">The machine's user id of the function's root, to own the pipes where that may be set.</param>
    /// <param name="gid">Likewise its group id.</param>
    Stdio Create(string directory, uint uid, uint gid);
}

/// <summary>The runner's ends of a function's standard streams.</summary>
public abstract class Stdio : IDisposable
{
    /// <summary>Written by the runner, read by the function; disposed to tell its end.</summary>
    public abstract Stream Stdin { get; }

    /// <summary>Read by the runner.</summary>
    public abstract Stream Stdout { get; }

    /// <summary>Read by the runner.</summary>
    public abstract Stream Stderr { get; }

    /// <summary>To be called once the other process has opened all three: the names are removed, and the ends of the streams can be told from then on.</summary>
    public abstract void Opened();

    /// <summary>Closes what is open and removes the names.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes what is open and removes the names.</summary>
    /// <param name="disposing">Whether called by <see cref="Dispose()"/>.</param>
    protected abstract void Dispose(bool disposing);
}
