using System.Text;

namespace Xfn.Core;

/// <summary>How a further program runs in a container (<see cref="RunningContainer.ExecAsync"/>).</summary>
public sealed record ExecOptions
{
    /// <summary>Environment variables, by name, besides the container's or instead of them. None by default.</summary>
    public IDictionary<string, string> Environment { get; init => field = value ?? new Dictionary<string, string>(); } = new Dictionary<string, string>();

    /// <summary>The working directory, an absolute path that is there. Null, the default, for the
    /// container's.</summary>
    public string? WorkingDirectory { get; init; }

    /// <summary>The user and group, as in <see cref="ContainerSettings.User"/>. Null, the default, for the
    /// container's.</summary>
    public string? User { get; init; }

    /// <summary>How long the program may run; then it is killed. More than 0, at most 24 days. Null, the default, for
    /// no such limit.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>What the program reads on stdin. Empty by default. It belongs to
    /// <see cref="RunningContainer.ExecAsync"/>; a <see cref="RunningProcess"/> has a stream.</summary>
    public ReadOnlyMemory<byte> Input { get; init; }

    /// <summary>How many bytes <see cref="RunningContainer.ExecAsync"/> keeps of stdout, and of stderr; a program that
    /// writes more is killed. 16 MiB by default; 1 to 2 GiB less 1.</summary>
    public int MaxOutputBytes { get; init; } = 16 << 20;

    /// <summary>The size of the terminal that the program gets as stdin, stdout and stderr. Null, the default, for
    /// pipes instead.</summary>
    public TerminalSize? Terminal { get; init; }
}

/// <summary>The size of a terminal, in characters: 1 to 65,535 each.</summary>
/// <param name="Rows">Its height.</param>
/// <param name="Columns">Its width.</param>
public readonly record struct TerminalSize(int Rows, int Columns);

/// <summary>How a further program in a container ended.</summary>
public record ExecExit
{
    /// <summary>The exit status, 0 to 255; 128 + <see cref="Signal"/> when a signal ended it.</summary>
    public required int ExitCode { get; init; }

    /// <summary>The signal that ended it; null when it exited.</summary>
    public int? Signal { get; init; }

    /// <summary>Whether it was killed because <see cref="ExecOptions.Timeout"/> had passed.</summary>
    public bool TimedOut { get; init; }

    /// <summary>The processor time of it and of those of its children that it waited for.</summary>
    public TimeSpan CpuTime { get; init; }
}

/// <summary>How a further program in a container ended, and what it wrote.</summary>
public sealed record ExecResult : ExecExit
{
    /// <summary>What it wrote to stdout, or to its terminal.</summary>
    public ReadOnlyMemory<byte> StdoutBytes { get; init; }

    /// <summary>What it wrote to stderr. Empty with a terminal.</summary>
    public ReadOnlyMemory<byte> StderrBytes { get; init; }

    /// <summary><see cref="StdoutBytes"/>, decoded as UTF-8.</summary>
    public string Stdout => Encoding.UTF8.GetString(StdoutBytes.Span);

    /// <summary><see cref="StderrBytes"/>, decoded as UTF-8.</summary>
    public string Stderr => Encoding.UTF8.GetString(StderrBytes.Span);
}

/// <summary>A further program in a container (<see cref="RunningContainer.StartExecAsync"/>). Disposal kills it, if it
/// goes on, and closes its streams.</summary>
public abstract class RunningProcess : IAsyncDisposable
{
    /// <summary>Written to, it is what the program reads; its disposal is the end of that. With a terminal it is
    /// that.</summary>
    public abstract Stream Stdin { get; }

    /// <summary>What the program writes to stdout, or to its terminal. Read it, or the program blocks once a pipe is
    /// full.</summary>
    public abstract Stream Stdout { get; }

    /// <summary>What the program writes to stderr; at its end with a terminal. Likewise.</summary>
    public abstract Stream Stderr { get; }

    /// <summary>Ends when the program has, and never faults. Its children may go on, and hold its streams
    /// open.</summary>
    public abstract Task<ExecExit> Exited { get; }

    /// <summary>Sends it a signal. Nothing happens when it has ended.</summary>
    /// <param name="signal">The signal's number, 1 to 64.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is no signal.</exception>
    public abstract void Signal(int signal);

    /// <summary>Gives its terminal another size.</summary>
    /// <param name="size">The size.</param>
    /// <exception cref="InvalidOperationException">It has no terminal.</exception>
    /// <exception cref="ArgumentOutOfRangeException">It is no size of a terminal.</exception>
    public abstract void Resize(TerminalSize size);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
