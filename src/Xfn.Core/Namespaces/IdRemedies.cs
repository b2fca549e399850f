using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>What to do about ids that are missing. Each remedy is complete: it can be done as it is written.</summary>
internal static class IdRemedies
{
    private const uint Enough = ContainerRunner.UserNamespaceUIDs;

    // Where useradd begins, and where the ids begin that this library maps for root.
    private const uint FirstFree = 100_000;
    private const uint LastFree = IdMappings.DefaultRoot - 1;

    /// <summary>What to do so that an id of an image is mapped.</summary>
    public static string ForHigher(IdMapping mapping, IdKind kind, uint id, IdMachine? machine = null)
    {
        machine ??= new IdMachine();
        if (mapping.Method == IdMappingMethod.Capabilities)
        {
            return IdMappings.IsComplete(machine.Namespace(kind)) && id < IdMappings.DefaultCount
                ? $"Map ids from {IdMappings.DefaultRoot} on, of which {IdMappings.DefaultCount} are mapped (option RootUid, option RootGid)."
                : IdMappings.IsComplete(machine.Namespace(kind)) ? $"Use a lower id in the image, {IdMappings.DefaultCount - 1} at most."
                : ForContainer(machine, kind);
        }

        if (mapping.IsSingle)
        {
            IdMappingDecision most = IdMappings.Decide(new IdMappingWish(), machine);
            return most.Mapping is { IsSingle: false } ? "Let the runner map many ids, as this process may (option IdMapping)." : (most.Refusal ?? most.Lacking[0]).Remedy;
        }

        // As many group ids as user ids: who has a high user id mostly has the group of the same number. A runner keeps the
        // ids that were granted when it was made.
        return MoreSubordinateIds(machine, Math.Max(Enough, id + 1)) is { Length: > 0 } more ? more : "More are granted by now: make a new runner.";
    }

    /// <summary>How root gives the user more subordinate ids.</summary>
    public static string MoreSubordinateIds(IdMachine machine, uint wanted)
    {
        uint LackingOf(IdKind kind) => (uint)(wanted - Math.Min(wanted, IdSpan.Total(IdSpan.Among(machine.Subordinate(kind).Granted, machine.Namespace(kind)))));
        (uint lackingUids, uint lackingGids) = (LackingOf(IdKind.User), LackingOf(IdKind.Group));
        uint lacking = Math.Max(lackingUids, lackingGids);
        if (machine.User.Name.Length == 0)
            return $"Give user id {machine.User.Number} a name in /etc/passwd.";
        if (lacking == 0)
            return "";
        if (machine.FindFree(FirstFree, LastFree, lacking) is not { } free)
            return $"{ForContainer(machine, lackingUids > 0 ? IdKind.User : IdKind.Group)} Then give this user some of them in /etc/subuid and /etc/subgid.";

        (SubordinateIds users, SubordinateIds groups) = (machine.Subordinate(IdKind.User), machine.Subordinate(IdKind.Group));
        (IdKind Kind, SubordinateIds File, uint Count)[] parts = [(IdKind.User, users, lackingUids), (IdKind.Group, groups, lackingGids)];
        parts = [.. parts.Where(p => p.Count > 0)];

        // usermod knows no users but those of /etc/passwd, and wants the files to be there.
        string command = machine.HasLocalUser && Executables.Find("usermod") is not null
            ? (users.Exists && groups.Exists ? "" : "touch /etc/subuid /etc/subgid && ")
                + $"usermod {string.Join(' ', parts.Select(p => $"{(p.Kind == IdKind.User ? "--add-subuids" : "--add-subgids")} {free.First}-{free.First + (p.Count - 1)}"))} {Quote(machine.User.Name)}"
            : string.Join(" && ", parts.Select(p => $"printf '{(p.File.EndsWithNewLine ? "" : @"\n")}%s:{free.First}:{p.Count}\\n' {Quote(machine.User.Name)} >>{p.File.Path}"));
        return $"As root: {command}.";
    }

    /// <summary>What to do where the user namespace around this process has too few ids.</summary>
    public static string ForContainer(IdMachine machine, IdKind kind) =>
        $"This process's user namespace has the {Name(kind)} {IdSpan.Show(machine.Namespace(kind))} only: give the container around it more.";

    public static string Name(IdKind kind) => kind == IdKind.User ? "user ids" : "group ids";

    private static string Quote(string name) => name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '@') ? name : $"'{name.Replace("'", @"'\''", StringComparison.Ordinal)}'";
}
