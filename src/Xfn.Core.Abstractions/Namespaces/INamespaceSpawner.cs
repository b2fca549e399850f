using Microsoft.Win32.SafeHandles;

namespace Xfn.Core;

/// <summary>Starts programs in a user, mount and PID namespace of their own. <c>NamespaceSpawner</c> is the default;
/// one that wraps it changes or counts what is started.</summary>
/// <remarks>
/// <para>A spawner gives the program all of the following. The program, xfn-spark, relies on each.</para>
/// <list type="bullet">
/// <item>New user, mount and PID namespaces, and no others. It is PID 1: when it ends, the kernel ends everything in
/// its PID namespace.</item>
/// <item>All capabilities in the user namespace, effective also after execve(2), while no ids are mapped yet (as
/// ambient capabilities, or <c>unshare --keep-caps</c>).</item>
/// <item>The caller's <c>/proc</c>: it is mounted anew by the program only. By then <c>/proc/self</c> tells the program
/// its id as the caller sees it.</item>
/// <item>Pipes for stdin, stdout and stderr. The program and the runner exchange messages on the first two, so the
/// program's end of each is nobody else's, and no byte of another's comes between. The end of stdin tells the program
/// that the caller is gone: a caller that is killed must not leave a copy open.</item>
/// <item><see cref="NamespaceRequest.Executable"/> as descriptor <see cref="NamespaceRequest.ExecutableDescriptor"/>,
/// and no other descriptor of the caller's.</item>
/// <item>None of the caller's environment, no signal blocked, and each signal at its default.</item>
/// <item>An end when its caller ends, also where that is killed (PR_SET_PDEATHSIG, <c>unshare --kill-child</c>):
/// whatever stands between the caller and the program ends it too.</item>
/// </list>
/// <para>Implementations are called concurrently. A conformance fixture,
/// <c>tests/Conformance/SpawnerConformance.cs</c>, tries all this of a spawner.</para>
/// </remarks>
public interface INamespaceSpawner
{
    /// <summary>Starts a program as PID 1 of new namespaces. Does not wait for its first message.</summary>
    /// <param name="request">The program, and where it starts.</param>
    /// <param name="cancellationToken">Ends the start; nothing is left of it.</param>
    /// <returns>The running program, which has not been given its ids yet. The runner disposes it.</returns>
    /// <exception cref="ContainerEnvironmentException">This machine or user may not make namespaces; the message has
    /// the remedy.</exception>
    Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default);
}

/// <summary>A program to start in new namespaces.</summary>
public sealed class NamespaceRequest
{
    /// <summary>The descriptor by which the new process has <see cref="Executable"/>: 3.</summary>
    public const int ExecutableDescriptor = 3;

    /// <summary>The path by which the new process executes <see cref="Executable"/>.</summary>
    public const string ExecutablePath = "/proc/self/fd/3";

    /// <summary>The program, open. The runner has compared its content, so this file must be executed, and not the one
    /// that has its name by then: hand it on as <see cref="ExecutableDescriptor"/>, without close-on-exec, and let the
    /// new process execute <see cref="ExecutablePath"/>. The program closes the descriptor before anything else. The
    /// handle stays the runner's.</summary>
    public required SafeFileHandle Executable { get; init; }

    /// <summary>The program's arguments, without its name. None by default.</summary>
    public IReadOnlyList<string> Arguments { get; init => field = value ?? []; } = [];

    /// <summary>The program's working directory, as an absolute path that holds in the caller's process alone: it may
    /// lead through <c>/proc/self/fd</c>. A child of the caller enters it before it executes anything.</summary>
    public required string WorkingDirectory { get; init; }

    /// <summary>The path of <see cref="Executable"/> from <see cref="WorkingDirectory"/>, on which nobody but the caller
    /// can put another file; null where there is none. The kernel carries a working directory over into a new mount
    /// namespace, and no open file: a program that is executed by this path is on a mount of that namespace, and can
    /// make its own file read-only there.</summary>
    internal string? PathFromWorkingDirectory { get; init; }

    /// <summary>Whether the program is xfn-spark, which can be a <c>ForkServer</c>.</summary>
    internal bool IsSpark { get; init; }

    /// <summary>The ids of the user namespace. <see cref="SpawnedNamespace.MapIdsAsync"/> sets them.</summary>
    public required IdMapping Mapping { get; init; }
}

/// <summary>A program in namespaces of its own. Disposal kills it, and everything in its PID namespace with it, and
/// waits for its end.</summary>
/// <remarks>One that wraps another passes on each member.</remarks>
public abstract class SpawnedNamespace : IAsyncDisposable
{
    /// <summary>The program's stdin. Its end tells the program that its caller is gone.</summary>
    public abstract Stream Input { get; }

    /// <summary>The program's stdout. Its reads heed their cancellation tokens.</summary>
    public abstract Stream Output { get; }

    /// <summary>Ends when the program and everything in its PID namespace has ended, and never faults. If the program
    /// is killed before its ids were mapped, it may end a moment sooner. Its result is the text on stderr, at most 64
    /// KiB, which says why a program could not be started.</summary>
    public abstract Task<string> Ended { get; }

    /// <summary>Maps the ids of the request (<c>uid_map</c> and <c>gid_map</c> in user_namespaces(7)), as
    /// <see cref="IdMapping.Method"/> says. Called at most once, when the program's first message has come. When it
    /// returns, the ids hold.</summary>
    /// <param name="processId">The program's process id, as the caller sees it. It comes from the program.</param>
    /// <param name="cancellationToken">Ends the mapping.</param>
    /// <exception cref="ContainerEnvironmentException">The ids may not be mapped; the message has the
    /// remedy.</exception>
    public abstract Task MapIdsAsync(int processId, CancellationToken cancellationToken = default);

    /// <summary>Kills the program with SIGKILL, and so everything in its PID namespace. Does not wait, and does nothing
    /// once the program has ended: a process that has its id by then is another's. May be called at any time, also
    /// concurrently, and does not throw.</summary>
    public abstract void Kill();

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}

/// <summary>Which ids of the machine a user namespace's ids are.</summary>
public sealed class IdMapping
{
    /// <summary>How many user ids, and how many group ids, decide <see cref="Key"/>: 65,536.</summary>
    internal const uint KeyIds = 65_536;

    /// <summary>The user ids, ordered by <see cref="IdRange.Inside"/>, from 0 without a gap.</summary>
    public required IReadOnlyList<IdRange> Uids { get; init; }

    /// <summary>The group ids, ordered by <see cref="IdRange.Inside"/>, from 0 without a gap.</summary>
    public required IReadOnlyList<IdRange> Gids { get; init; }

    /// <summary>How the mapping is set.</summary>
    public required IdMappingMethod Method { get; init; }

    /// <summary>Whether only one id is mapped, the caller's own, to root.</summary>
    internal bool IsSingle => Method == IdMappingMethod.Self;

    /// <summary>Names the mapping in the cache: files written through one mapping belong to other ids than files
    /// written through another. Only the first 65,536 user ids and the first 65,536 group ids count, so a mapping that
    /// adds ids behind those of another uses the same files.</summary>
    internal string Key => $"{Name(Uids, 0, KeyIds - 1)}-{Name(Gids, 0, KeyIds - 1)}";

    /// <summary>Names what <see cref="Key"/> leaves out, up to these ids: two mappings of the same key give files with
    /// ids up to these the same owners when this is equal too.</summary>
    internal string KeyBeyond(uint uid, uint gid) => $"{Name(Uids, KeyIds, uid)}-{Name(Gids, KeyIds, gid)}";

    private static string Name(IReadOnlyList<IdRange> ranges, uint first, uint last) => string.Join('_', ranges
        .Select(r => (Range: r, From: Math.Max(r.Inside, first), To: Math.Min((ulong)r.Inside + r.Count, (ulong)last + 1)))
        .Where(part => part.From < part.To)
        .Select(part => $"{part.Range.Outside + (part.From - part.Range.Inside)}+{part.To - part.From}"));
}

/// <summary>Consecutive ids.</summary>
/// <param name="Inside">The first one in the namespace.</param>
/// <param name="Outside">The same one on the machine.</param>
/// <param name="Count">How many.</param>
public readonly record struct IdRange(uint Inside, uint Outside, uint Count);

/// <summary>How ids are mapped.</summary>
public enum IdMappingMethod
{
    /// <summary>The caller writes the maps, with CAP_SETUID and CAP_SETGID.</summary>
    Capabilities,

    /// <summary>The setuid programs newuidmap and newgidmap map the caller's subordinate ids.</summary>
    SubordinateIds,

    /// <summary>The caller maps its own id to root, and nothing else.</summary>
    Self,
}
