using Microsoft.Win32.SafeHandles;

namespace Xfn.Core;

/// <summary>Starts programs in a user, mount and PID namespace of their own.</summary>
public interface INamespaceSpawner
{
    /// <summary>Starts a program as PID 1 of new namespaces.</summary>
    /// <param name="request">What to start, where.</param>
    /// <param name="cancellationToken">Ends the start; nothing is left of it.</param>
    /// <returns>The running program, which has not been given its ids yet.</returns>
    /// <exception cref="ContainerEnvironmentException">This machine or user may not make namespaces; the message has the remedy.</exception>
    Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default);
}

/// <summary>What to start in new namespaces.</summary>
public sealed record NamespaceRequest
{
    /// <summary>The descriptor by which the new process has <see cref="Executable"/>.</summary>
    public const int ExecutableDescriptor = 3;

    /// <summary>The path by which the new process executes <see cref="Executable"/>.</summary>
    public const string ExecutablePath = "/proc/self/fd/3";

    /// <summary>The program, open. Its content was compared with what is to be run, so it is this file that must be executed, and not what has its name by then: hand it on to the new process as
    /// <see cref="ExecutableDescriptor"/>, without close-on-exec, and have that execute <see cref="ExecutablePath"/>. The program closes the descriptor before anything else. The handle stays the caller's.</summary>
    public required SafeFileHandle Executable { get; init; }

    /// <summary>Its arguments.</summary>
    public IReadOnlyList<string> Arguments { get; init => field = value ?? []; } = [];

    /// <summary>Its working directory, as an absolute path that holds in the caller's process alone: it may lead through <c>/proc/self/fd</c>. The new process enters it as a child of the caller, before it executes
    /// anything.</summary>
    public required string WorkingDirectory { get; init; }

    /// <summary>The ids of the user namespace.</summary>
    public required IdMapping Mapping { get; init; }
}

/// <summary>A program in namespaces of its own. Disposal kills it, and everything in its PID namespace with it, and waits for its end.</summary>
public abstract class SpawnedNamespace : IAsyncDisposable
{
    /// <summary>The program's stdin. Its end tells the program that its caller is gone.</summary>
    public abstract Stream Input { get; }

    /// <summary>The program's stdout.</summary>
    public abstract Stream Output { get; }

    /// <summary>Ends when the program and everything in its PID namespace has; gives what was written to stderr, at most 64 KiB of it.</summary>
    public abstract Task<string> Ended { get; }

    /// <summary>Maps the ids of the request, once the program is known to run in its namespaces.</summary>
    /// <param name="processId">The program's process id, as the caller sees it.</param>
    /// <param name="cancellationToken">Ends the mapping.</param>
    /// <exception cref="ContainerEnvironmentException">The ids may not be mapped; the message has the remedy.</exception>
    public abstract Task MapIdsAsync(int processId, CancellationToken cancellationToken = default);

    /// <summary>Kills the program with SIGKILL, and so everything in its PID namespace. Does not wait.</summary>
    public abstract void Kill();

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}

/// <summary>Which ids of the machine a user namespace's ids are.</summary>
public sealed record IdMapping
{
    /// <summary>How many user ids, and how many group ids, decide <see cref="Key"/>: 65,536.</summary>
    internal const uint KeyIds = 65_536;

    /// <summary>The user ids, ordered by <see cref="IdRange.Inside"/>, from 0 without a gap.</summary>
    public required IReadOnlyList<IdRange> Uids { get; init; }

    /// <summary>The group ids, likewise.</summary>
    public required IReadOnlyList<IdRange> Gids { get; init; }

    /// <summary>How the mapping is set.</summary>
    public required IdMappingMethod Method { get; init; }

    /// <summary>Whether only one id is mapped, the caller's own, to root.</summary>
    public bool IsSingle => Method == IdMappingMethod.Self;

    /// <summary>Names the mapping in the cache: files written through one mapping belong to other ids than files
    /// written through another. Only the first 65,536 user ids and the first 65,536 group ids count, so a mapping that
    /// adds ids behind those of another uses the same files.</summary>
    public string Key => $"{Name(Uids, 0, KeyIds - 1)}-{Name(Gids, 0, KeyIds - 1)}";

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
