namespace Xfn.Core.Spark;

// Between Started and Exited the runner may ask for more of a container that spark made. Each request has a number that
// the runner chooses, and answers carry it. Many may be under way, and answers come in any order:
//
//   runner → MakeSocket              spark → Opened
//   runner → Exec                    spark → Opened, and at its end Ended; meanwhile runner → Signal
//   runner → CopyIn | CopyOut        spark → Opened, and at its end Copied
//   runner → AddHosts | HandOver     spark → Done
//   runner → Close                   no answer
//
// Instead of any of these answers spark may send Refused: that request has failed, or ends so; the container goes on.
// Opened names descriptors of spark's own table. The runner takes them with pidfd_getfd(2), or, where that is refused,
// has them sent with HandOver. Then it sends Close. All that was asked for ends before Exited.

/// <summary>Make stream sockets in the container's network namespace; or in the machine's, where the container is in
/// that. They do not block, and one that listens is bound and may reuse its address.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="Family">2 for IPv4, 10 for IPv6: the kernel's numbers.</param>
/// <param name="Address">Where it listens, 4 or 16 bytes; empty where it does not.</param>
/// <param name="Port">Where it listens; 0 for one that the kernel chooses.</param>
/// <param name="Backlog">How many connections may wait; 0 for sockets that are neither bound nor listen.</param>
/// <param name="Count">How many, at most <see cref="MostSockets"/>; of those that listen, one.</param>
internal sealed record SparkMakeSocket(int Id, int Family, ReadOnlyMemory<byte> Address, int Port, int Backlog, int Count = 1)
{
    /// <summary>As many as <see cref="SparkHandOver"/> takes.</summary>
    public const int MostSockets = 16;
}

/// <summary>What was asked for is open, in spark's table. Nothing of it blocks.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="Descriptors">The sockets; or the runner's ends of a process's stdin, stdout and stderr, or its terminal
/// alone; or the runner's end of a copy's pipe.</param>
internal sealed record SparkOpened(int Id, IReadOnlyList<int> Descriptors);

/// <summary>Start a further process in the container, with all of its walls: namespaces, limits, capabilities, filter,
/// umask, out-of-memory score.</summary>
internal sealed record SparkExec
{
    /// <summary>The request's number.</summary>
    public required int Id { get; init; }

    /// <summary>As in <see cref="SparkContainer.Arguments"/>.</summary>
    public required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>As in <see cref="SparkContainer.Environment"/>.</summary>
    public required IReadOnlyList<string> Environment { get; init; }

    /// <summary>An absolute path. Unlike the container's own it is not made.</summary>
    public required string WorkingDirectory { get; init; }

    public required uint Uid { get; init; }

    public required uint Gid { get; init; }

    /// <summary>Supplementary groups.</summary>
    public required IReadOnlyList<uint> Groups { get; init; }

    /// <summary>Whether stdin, stdout and stderr are a terminal of the container's, which is the process's controlling
    /// terminal; else they are three pipes.</summary>
    public bool Terminal { get; init; }

    /// <summary>The terminal's height at the start, in characters. Later the runner sets it itself.</summary>
    public int Rows { get; init; }

    /// <summary>The terminal's width at the start, in characters.</summary>
    public int Columns { get; init; }
}

/// <summary>A process of <see cref="SparkExec"/> has ended. Its children may go on, and hold its pipes open.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="ExitCode">Its exit status; 128 + <paramref name="Signal"/> when a signal ended it.</param>
/// <param name="Signal">The signal that ended it; 0 when it exited.</param>
/// <param name="CpuMicroseconds">User and system time of it and of those of its children that it waited for.</param>
internal sealed record SparkEnded(int Id, int ExitCode, int Signal, long CpuMicroseconds);

/// <summary>Unpack a tar archive in the container. Devices and FIFOs in it are left out, and so are the times of links.
/// </summary>
internal sealed record SparkCopyIn
{
    /// <summary>The request's number.</summary>
    public required int Id { get; init; }

    /// <summary>A directory of the container's, an absolute path. Links are followed, but never out of the root. It is
    /// made, with those above it, where it is missing. What is a directory already keeps its mode and owner; any other
    /// file is replaced.</summary>
    public required string Directory { get; init; }

    /// <summary>How many bytes the archive's files may have in all.</summary>
    public required long MaxBytes { get; init; }

    /// <summary>How many entries it may have.</summary>
    public required long MaxEntries { get; init; }
}

/// <summary>Make a tar archive of a file or a directory of the container's. Devices, FIFOs, sockets and what lies in
/// the kernel's own file systems (<c>/proc</c> and the like) are left out, and so are extended attributes; of hard links
/// each is a file.</summary>
internal sealed record SparkCopyOut
{
    /// <summary>The request's number.</summary>
    public required int Id { get; init; }

    /// <summary>An absolute path. Links are followed, but never out of the root. The archive's names start with its last
    /// name; for the root with <c>.</c>.</summary>
    public required string Path { get; init; }

    /// <summary>How many bytes the files may have in all.</summary>
    public required long MaxBytes { get; init; }

    /// <summary>How many entries the archive may have.</summary>
    public required long MaxEntries { get; init; }
}

/// <summary>A copy is complete. One that is refused may have been made in part.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="Entries">How many entries the archive had, what was left out among them.</param>
/// <param name="Bytes">How many bytes its files had.</param>
/// <param name="Warnings">Everything left out or changed, and why. At most 100 lines; the last says how many more.
/// </param>
internal sealed record SparkCopied(int Id, long Entries, long Bytes, IReadOnlyList<string> Warnings);

/// <summary>Append a line to the container's <c>/etc/hosts</c>.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="Line">The line, without its end.</param>
internal sealed record SparkAddHosts(int Id, string Line);

/// <summary>The runner has taken these descriptors of <see cref="SparkOpened"/>, or does not want them.</summary>
/// <param name="Descriptors">Those that spark is to close.</param>
internal sealed record SparkClose(IReadOnlyList<int> Descriptors);

/// <summary>Connect to the runner, and send descriptors of <see cref="SparkOpened"/> or <see cref="SparkStarted"/> with
/// SCM_RIGHTS. They stay open here until <see cref="SparkClose"/>.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="Name">The name of an abstract Unix socket in the machine's network namespace, without the leading
/// NUL.</param>
/// <param name="Descriptors">At most 16. All are sent with one byte, in this order.</param>
internal sealed record SparkHandOver(int Id, string Name, IReadOnlyList<int> Descriptors);

/// <summary>What was asked for is done.</summary>
/// <param name="Id">The request's number.</param>
internal sealed record SparkDone(int Id);

/// <summary>A request could not be done, or ended in a failure. The container goes on.</summary>
/// <param name="Id">The request's number.</param>
/// <param name="Failure">Why.</param>
internal sealed record SparkRefused(int Id, SparkFailure Failure);
