using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Server;

/// <summary>Decides who may call a Unix socket: abstract ones have no permissions, paths may have wrong ones.</summary>
internal sealed class PeerCheck
{
    private const int SOL_SOCKET = 1, SO_PEERCRED = 17, SO_PEERPIDFD = 77;

    private readonly HashSet<uint> _uids;
    private readonly bool _ownUserNamespace;
    private readonly FileIdentity _namespace;

    /// <summary>What the kernel is asked; less is what older ones know.</summary>
    public PeerFacts Facts { get; init; } = PeerFacts.ProcessDescriptor | PeerFacts.NamespaceOfDescriptor;

    /// <summary>Asks the kernel for the process at the other end.</summary>
    public Func<Socket, PeerProcess> AskProcess { get; init; } = PidFdOf;

    public PeerCheck(IEnumerable<uint> uids, bool ownUserNamespace)
    {
        _uids = [0, Posix.EffectiveUserId, .. uids];
        _ownUserNamespace = ownUserNamespace;
        if (ownUserNamespace)
            _namespace = Posix.IdentityOf("/proc/self/ns/user") ?? throw new ContainerEnvironmentException(RunStage.Validate, "cannot read this process's user namespace: /proc/self/ns/user is not there. Mount /proc.");
    }

    /// <summary>Why a peer may not call; null when it may.</summary>
    public string? Refuse(Socket connection)
    {
        Span<byte> credentials = stackalloc byte[12];
        connection.GetRawSocketOption(SOL_SOCKET, SO_PEERCRED, credentials);
        int pid = MemoryMarshal.Read<int>(credentials);
        uint uid = MemoryMarshal.Read<uint>(credentials[4..]);
        if (!_uids.Contains(uid))
            return $"process {pid} is user {uid}'s, who may not call. Allow the user (option AllowedUids).";
        if (!_ownUserNamespace)
            return null;
        return NamespaceOf(connection, pid, out bool hasEnded) switch
        {
            null when hasEnded => $"process {pid} of user {uid} has ended, and what it was can no longer be known.",
            null => $"the user namespace of process {pid} of user {uid} cannot be read, so it may be a container's. Run it beside the server, or do without this check (option RequireOwnUserNamespace).",
            { } other when other != _namespace => $"process {pid} of user {uid} is in another user namespace, as a container is.",
            _ => null,
        };
    }

    private FileIdentity? NamespaceOf(Socket connection, int pid, out bool hasEnded)
    {
        PeerProcess asked = Facts.HasFlag(PeerFacts.ProcessDescriptor) ? AskProcess(connection) : default;
        using SafeFileHandle? process = asked.Descriptor;
        hasEnded = asked is { IsKnown: true, Descriptor: null };
        if (hasEnded)
            return null;
        if (process is not null && Facts.HasFlag(PeerFacts.NamespaceOfDescriptor) && Posix.UserNamespaceOf(process) is { } known)
        {
            using (known)
                return Posix.IdentityOf(known);
        }

        // 0 is a process that this PID namespace does not show.
        if (pid <= 0)
            return null;
        string directory = $"/proc/{pid}";
        ulong? begun = process is null ? StartOf(directory) : null;
        FileIdentity? found = Posix.IdentityOf($"{directory}/ns/user");

        // The process that connected may have ended, and its number be another's by now.
        bool same = process is not null ? Posix.IsAlive(process) : begun is not null && begun == StartOf(directory);
        return same ? found : null;
    }

    private static PeerProcess PidFdOf(Socket connection)
    {
        Span<byte> value = stackalloc byte[4];
        try
        {
            connection.GetRawSocketOption(SOL_SOCKET, SO_PEERPIDFD, value);
            return new PeerProcess(new SafeFileHandle(MemoryMarshal.Read<int>(value), ownsHandle: true), IsKnown: true);
        }
        catch (SocketException ex)
        {
            // Linux before 6.5 lacks the option. Else the process has been reaped, and its id may be another's.
            return new PeerProcess(null, IsKnown: ex.SocketErrorCode != SocketError.ProtocolOption);
        }
    }

    /// <summary>When a process was started, in ticks since boot.</summary>
    private static ulong? StartOf(string directory) =>

        // The name before it may hold anything, parentheses and blanks too.
        new SystemFiles().ReadText(directory + "/stat") is { } stat
            ? ulong.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19], System.Globalization.CultureInfo.InvariantCulture)
            : null;
}

/// <summary>The process at the other end: a descriptor, if the kernel gave one, and whether it gives such.</summary>
internal readonly record struct PeerProcess(SafeFileHandle? Descriptor, bool IsKnown);

/// <summary>What the kernel can tell of the process at the other end.</summary>
[Flags]
internal enum PeerFacts
{
    /// <summary>Its number, and what /proc says of that.</summary>
    Number = 0,

    /// <summary>A descriptor of the process itself: Linux 6.5.</summary>
    ProcessDescriptor = 1,

    /// <summary>The namespaces of such a descriptor: Linux 6.11.</summary>
    NamespaceOfDescriptor = 2,
}
