namespace Xfn.Core.Spark;

/// <summary>A <c>ContainerSpecification</c> in the kernel's terms, for a spark to make. Its namespaces are always new:
/// mount, PID, IPC, UTS and cgroup.</summary>
/// <remarks><see cref="SparkFrame"/> writes it once, into <see cref="SparkRun.Container"/> of many runs.</remarks>
internal sealed record SparkContainer
{
    /// <summary>The size of the kernel's <c>struct sock_filter</c>, of which <see cref="Filter"/> consists.</summary>
    public const int InstructionBytes = 8;

    /// <summary>The function's arguments. The first is the program, found in <c>PATH</c> if it has no slash.</summary>
    public required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>Its environment, <c>NAME=VALUE</c>, each name once.</summary>
    public required IReadOnlyList<string> Environment { get; init; }

    /// <summary>An absolute path.</summary>
    public required string WorkingDirectory { get; init; }

    public required string Hostname { get; init; }

    public required uint Uid { get; init; }

    public required uint Gid { get; init; }

    /// <summary>Supplementary groups.</summary>
    public required IReadOnlyList<uint> Groups { get; init; }

    public required uint Umask { get; init; }

    /// <summary>As /proc/PID/oom_score_adj has it; null leaves it.</summary>
    public required int? OomScoreAdjustment { get; init; }

    /// <summary>Whether the network namespace is new; else it is the runner's.</summary>
    public required bool OwnNetwork { get; init; }

    /// <summary>Whether each process that the spark makes in it has a session keyring of its own; else it keeps the
    /// runner's, which it can then not ask for.</summary>
    public required bool OwnKeyring { get; init; }

    /// <summary>Whether execve(2) may give privileges, as by set-user-ID bits.</summary>
    public required bool NewPrivileges { get; init; }

    /// <summary>A bit for each capability, in all five sets.</summary>
    public required ulong Capabilities { get; init; }

    public required IReadOnlyList<SparkLimit> Limits { get; init; }

    /// <summary>In the order of mounting.</summary>
    public required IReadOnlyList<SparkMount> Mounts { get; init; }

    /// <summary>Paths that show nothing; those that are not there are passed over.</summary>
    public required IReadOnlyList<string> MaskedPaths { get; init; }

    /// <summary>Paths that cannot be written to; likewise.</summary>
    public required IReadOnlyList<string> ReadOnlyPaths { get; init; }

    /// <summary>The seccomp filter: instructions of classic BPF, eight bytes each. Empty for none.</summary>
    public required ReadOnlyMemory<byte> Filter { get; init; }
}

/// <summary>A limit of setrlimit(2).</summary>
/// <param name="Resource">The kernel's number for it.</param>
/// <param name="Soft">What holds.</param>
/// <param name="Hard">What it may be raised to.</param>
internal sealed record SparkLimit(int Resource, ulong Soft, ulong Hard);

/// <summary>A mount(2).</summary>
/// <param name="Destination">Where, as an absolute path in the root; made when it is not there.</param>
/// <param name="Type">The kind of file system; empty for a bind mount.</param>
/// <param name="Source">What is mounted, of the machine's files where it is a bind mount. A relative path starts from
/// the directory that the root lies in, as the runtime specification has it.</param>
/// <param name="Flags">mount(2)'s flags.</param>
/// <param name="Data">The file system's own options.</param>
internal sealed record SparkMount(string Destination, string Type, string Source, ulong Flags, string Data);
