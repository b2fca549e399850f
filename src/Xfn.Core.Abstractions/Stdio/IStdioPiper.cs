namespace Xfn.Core;

/// <summary>Connects a run to its function's standard streams. <c>StdioPipes</c> is the default; one that wraps it
/// changes the streams that it gives.</summary>
/// <remarks>
/// <para>The process that starts the function has made three pipes by then, and has not yet changed its ids: it runs as
/// the caller, so the caller may open its descriptors by way of <c>/proc</c>. The runner needs its ends of exactly
/// these pipes. Another file, <c>/dev/null</c> or a named pipe will not do: a function opens <c>/dev/stdin</c> anew,
/// and the pipe is what it must get.</para>
/// <para>A piper that opens them itself keeps to this. It makes sure that what it opened is a pipe (<c>S_ISFIFO</c>),
/// because a process that was taken over could name a file or a device of the caller's. It gives the pipes to
/// <see cref="StdioDescriptors.Uid"/> and <see cref="StdioDescriptors.Gid"/> where the kernel lets it (fchown): without
/// that a function whose user is not the caller relies on their mode. It keeps no other descriptor of theirs open:
/// stdin ends when its one writer does.</para>
/// <para>Implementations are called concurrently.</para>
/// </remarks>
public interface IStdioPiper
{
    /// <summary>Opens the runner's ends of a function's pipes. Called once for each run, before its function is
    /// started.</summary>
    /// <param name="pipes">Where they are.</param>
    /// <returns>The streams, which the runner disposes.</returns>
    /// <exception cref="IOException">A pipe could not be opened.</exception>
    /// <exception cref="ContainerEnvironmentException">What was opened is no pipe.</exception>
    Stdio Open(StdioDescriptors pipes);
}

/// <summary>The runner's ends of three pipes that another process made for its function, as numbers of that process's
/// descriptors.</summary>
public sealed class StdioDescriptors
{
    /// <summary>The process's id, as the runner sees it. Its descriptors are <c>/proc/ID/fd/NUMBER</c>.</summary>
    public required int ProcessId { get; init; }

    /// <summary>The end to write to.</summary>
    public required int Stdin { get; init; }

    /// <summary>The end to read the function's stdout from.</summary>
    public required int Stdout { get; init; }

    /// <summary>The end to read the function's stderr from.</summary>
    public required int Stderr { get; init; }

    /// <summary>The machine's user id of the container's root, which should own the pipes.</summary>
    public required uint Uid { get; init; }

    /// <summary>The machine's group id of the container's root, which should own the pipes.</summary>
    public required uint Gid { get; init; }
}

/// <summary>The runner's ends of a function's standard streams. Disposal closes them.</summary>
/// <param name="stdin">Written by the runner, and disposed to tell its end. A write to a pipe that nobody reads any
/// more throws an <see cref="IOException"/> whose <see cref="Exception.HResult"/>, or whose inner SocketException, has
/// the error number EPIPE.</param>
/// <param name="stdout">Read by the runner. Its reads heed their cancellation tokens: the runner cancels a read that
/// still waits when the function has ended.</param>
/// <param name="stderr">Likewise.</param>
public sealed class Stdio(Stream stdin, Stream stdout, Stream stderr) : IDisposable
{
    /// <summary>Written by the runner, read by the function.</summary>
    public Stream Stdin => stdin;

    /// <summary>Written by the function, read by the runner.</summary>
    public Stream Stdout => stdout;

    /// <summary>Written by the function, read by the runner.</summary>
    public Stream Stderr => stderr;

    /// <summary>Closes the streams.</summary>
    public void Dispose()
    {
        Stdin.Dispose();
        Stdout.Dispose();
        Stderr.Dispose();
    }
}
