using System.Diagnostics;
using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>What is wished of a mapping.</summary>
/// <param name="Method">How ids shall be mapped; null for the most that is possible.</param>
/// <param name="RootUid">The user id that becomes root, where capabilities allow a choice; null for the default.</param>
/// <param name="RootGid">The group id that becomes root's, likewise.</param>
/// <param name="CacheDirectory">The cache directory, for messages.</param>
/// <param name="HasLayers">Whether the cache has layers that were unpacked through a mapping.</param>
internal sealed record IdMappingWish(
    IdMappingMethod? Method = null, uint? RootUid = null, uint? RootGid = null, string CacheDirectory = "", Func<IdMapping, bool>? HasLayers = null);

/// <summary>The mapping that functions get, or why they get none.</summary>
internal sealed record IdMappingDecision(IdMapping? Mapping, EnvironmentDiagnosis? Refusal = null)
{
    /// <summary>What functions cannot do without more ids: the check tells it, and a run that needs it fails.</summary>
    public IReadOnlyList<EnvironmentDiagnosis> Lacking { get; init; } = [];

    /// <summary>What weakens the mapping: ids that others have too. The check and the log tell it. It is looked for as
    /// it is read.</summary>
    public IEnumerable<EnvironmentDiagnosis> Shared { get; init; } = [];
}

/// <summary>Decides which ids a function's user namespace has: for runs, and for the environment check.</summary>
internal static class IdMappings
{
    /// <summary>The id that is root of containers by default, where this process may choose. From here on useradd (up
    /// to 600,100,000), systemd (524,288 to 1,879,048,191) and sssd (up to 2,000,200,000) give ids to nobody.</summary>
    public const uint DefaultRoot = 2_010_000_000;

    /// <summary>How many ids from <see cref="DefaultRoot"/> to 2,147,483,647: some programs keep signed ids.</summary>
    public const uint DefaultCount = int.MaxValue - DefaultRoot + 1;

    /// <summary>The old <see cref="DefaultRoot"/>: the first id that useradd gives as a subordinate one.</summary>
    public const uint FormerRoot = 100_000;

    private const uint Enough = ContainerRunner.UserNamespaceUIDs;

    // The kernel takes a map in one write of less than a page, and so many ranges (since Linux 4.15):
    // https://man7.org/linux/man-pages/man7/user_namespaces.7.html
    private const int MapBytes = 4096;
    private const int MapRanges = 340;

    private static readonly IdKind[] Kinds = [IdKind.User, IdKind.Group];

    public static IdMappingDecision Decide(IdMappingWish wish, IdMachine machine)
    {
        if (wish.Method == IdMappingMethod.Self)
            return OwnId(machine, new("only the caller's own id shall be mapped", "Leave it to the runner how ids are mapped (option IdMapping)."));
        if (wish.Method != IdMappingMethod.SubordinateIds && machine.Status.CanMapIds)
            return WithCapabilities(wish, machine);
        if (wish.Method == IdMappingMethod.Capabilities)
        {
            return Refuse(
                "ids shall be mapped with capabilities, and this process lacks CAP_SETUID or CAP_SETGID",
                "Run as root, give this process both (systemd: AmbientCapabilities=CAP_SETUID CAP_SETGID), or leave it to the runner how ids are mapped (option IdMapping).");
        }

        return WithSubordinateIds(wish, machine);
    }

    /// <summary>Whether a user namespace has all the ids that functions get by default.</summary>
    public static bool IsComplete(IReadOnlyList<IdSpan> ids) => IdSpan.Total(IdSpan.Among([new IdSpan(DefaultRoot, DefaultCount)], ids)) == DefaultCount;

    /// <summary>Why the caller's own id cannot be mapped; null when it can.</summary>
    public static EnvironmentDiagnosis? FindUnmappable(SystemFiles files, ProcessStatus status) =>
        // Since Linux 5.12: whoever is root in a child could set file capabilities that hold in the parent.
        status.IsRoot && !status.CanSetFileCapabilities && files.KernelVersion >= new Version(5, 12)
            ? new("this process is root without CAP_SETFCAP, whom the kernel lets map no id",
                status.CanMapIds
                    ? "Its user namespace has no other ids either: give the container around it more; or run it as another user, or with CAP_SETFCAP (in Kubernetes securityContext: capabilities: add)."
                    : "Run it as another user; or give it CAP_SETUID and CAP_SETGID, or CAP_SETFCAP (in Kubernetes securityContext: capabilities: add).")
            : null;

    private static IdMappingDecision WithCapabilities(IdMappingWish wish, IdMachine machine)
    {
        foreach ((IdKind kind, uint? root) in new[] { (IdKind.User, wish.RootUid), (IdKind.Group, wish.RootGid) })
        {
            if (root is { } id && IdSpan.Among([new IdSpan(id, 1)], machine.Namespace(kind)).Count == 0)
                return Refuse(
                    $"root shall be {(kind == IdKind.User ? "user" : "group")} id {id}, and this process's user namespace has the {IdRemedies.Name(kind)} {IdSpan.Show(machine.Namespace(kind))} only",
                    "Leave the choice of ids to the runner (option RootUid, option RootGid), or give the container around this process more ids.");
        }

        IReadOnlyList<IdSpan> uids = Choose(machine, IdKind.User, wish.RootUid), gids = Choose(machine, IdKind.Group, wish.RootGid);
        if (uids.Count == 0 || gids.Count == 0)
        {
            IdKind lacking = uids.Count == 0 ? IdKind.User : IdKind.Group;
            string found = $"this process's user namespace has no {IdRemedies.Name(lacking)} besides the caller's own";
            return wish.Method == IdMappingMethod.Capabilities ? Refuse(found, IdRemedies.ForContainer(machine, lacking)) : OwnId(machine, new(found, IdRemedies.ForContainer(machine, lacking)));
        }

        EnvironmentDiagnosis[] kept = [];
        IdMapping mapping = Map(uids, gids, IdMappingMethod.Capabilities);
        if ((wish.RootUid is null || wish.RootGid is null) && wish.HasLayers is { } hasLayers
            && Former(wish, machine) is { } former && hasLayers(former) && !hasLayers(mapping))
        {
            kept = [new(
                $"the images in cache '{wish.CacheDirectory}' were unpacked with ids from {FormerRoot} on, which useradd gives to users as well, so functions still get those",
                $"To have them get {IdSpan.Show(uids)}, remove those images once: prune the cache to 0 bytes.")];
            mapping = former;
        }

        IdMappingDecision decision = Decided(wish, machine, mapping, kept.Concat(FindShared(machine, mapping)));

        // Where a container has few ids its system users have them too, and nobody chose it so: no news at every start.
        return wish is { RootUid: null, RootGid: null } && Kinds.Any(kind => !IsComplete(machine.Namespace(kind)))
            ? decision with { Lacking = [.. decision.Lacking, .. decision.Shared], Shared = [] }
            : decision;
    }

    /// <summary>The ids to map, of those there are.</summary>
    private static IReadOnlyList<IdSpan> Choose(IdMachine machine, IdKind kind, uint? root)
    {
        IReadOnlyList<IdSpan> there = machine.Namespace(kind);
        if (root is { } first)
            return IdSpan.Among([IdSpan.Of(first, first == DefaultRoot ? DefaultCount : Enough)!], there);
        if (IsComplete(there))
            return [new IdSpan(DefaultRoot, DefaultCount)];

        // In a container with other ids the last ones, which its users hardly have. Never root's or the caller's.
        IdSpan own = new(kind == IdKind.User ? machine.User.Id : Posix.EffectiveGroupId, 1);
        return IdSpan.TakeLast(IdSpan.Without(there, [new IdSpan(0, 1), own]), Enough);
    }

    /// <summary>The mapping that this wish led to in earlier versions; null where its ids are not there.</summary>
    private static IdMapping? Former(IdMappingWish wish, IdMachine machine)
    {
        IReadOnlyList<IdSpan>[] ids =
            [Choose(machine, IdKind.User, wish.RootUid ?? FormerRoot), Choose(machine, IdKind.Group, wish.RootGid ?? FormerRoot)];
        return ids.All(spans => IdSpan.Total(spans) == Enough) ? Map(ids[0], ids[1], IdMappingMethod.Capabilities) : null;
    }

    private static IdMappingDecision WithSubordinateIds(IdMappingWish wish, IdMachine machine)
    {
        bool isAsked = wish.Method is not null;
        IdMappingDecision Without(EnvironmentDiagnosis missing) => isAsked ? new(null, missing) : OwnId(machine, missing);

        foreach (SubordinateIds file in Kinds.Select(machine.Subordinate).Where(f => f.Granted.Count == 0))
        {
            // Not the caller's own id instead: subordinate ids are a barrier, and the caller must know that it falls.
            if (file.Broken is [var line, ..])
                return Refuse($"{line}, so newuidmap and newgidmap do not take it", RemedyOfBroken(file));
            return Without(new($"{file.Path} has no line for {machine.User}", $"{IdRemedies.MoreSubordinateIds(machine, Enough)} {Helpers.FindMissing()?.Remedy}".TrimEnd()));
        }

        if (machine.User.Name.Length == 0)
            return Without(new($"{machine.User} has no name, without which newuidmap maps nothing", IdRemedies.MoreSubordinateIds(machine, Enough)));
        IReadOnlyList<IdSpan>[] ids = [.. Kinds.Select(kind => IdSpan.Among(machine.Subordinate(kind).Granted, machine.Namespace(kind)))];
        foreach (IdKind kind in Kinds.Where((_, i) => ids[i].Count == 0))
        {
            SubordinateIds file = machine.Subordinate(kind);
            return Without(new(
                $"{file.Path} grants {machine.User} the {IdRemedies.Name(kind)} {IdSpan.Show(file.Granted)}, and this process's user namespace has none of them",
                IdRemedies.MoreSubordinateIds(machine, Enough)));
        }

        if (Helpers.FindMissing() is { } missing)
            return Without(missing);
        if (Helpers.FindBroken(machine) is { } broken)
            return new(null, broken);

        IdMapping mapping = Map(ids[0], ids[1], IdMappingMethod.SubordinateIds);
        return Decided(wish, machine, mapping, FindShared(machine, mapping));
    }

    private static IdMappingDecision Decided(IdMappingWish wish, IdMachine machine, IdMapping mapping, IEnumerable<EnvironmentDiagnosis> shared)
    {
        var lacking = new List<EnvironmentDiagnosis>();
        if (Kinds.Any(kind => IdSpan.Total(OutsideOf(mapping, kind)) < Enough))
        {
            lacking.Add(new(
                $"functions get {Show(mapping)}: images with higher ids cannot be unpacked",
                mapping.Method == IdMappingMethod.SubordinateIds ? IdRemedies.MoreSubordinateIds(machine, Enough)
                : wish.RootUid is not null || wish.RootGid is not null ? "Leave the choice of ids to the runner (option RootUid, option RootGid), or give the container around this process more ids."
                : IdRemedies.ForContainer(machine, Kinds.First(kind => IdSpan.Total(OutsideOf(mapping, kind)) < Enough))));
        }

        if (mapping.Method == IdMappingMethod.SubordinateIds)
        {
            foreach (IdKind kind in Kinds)
            {
                SubordinateIds file = machine.Subordinate(kind);
                if (file.Broken is [var line, ..])
                    lacking.Add(new($"{line}, so newuidmap and newgidmap do not take it", RemedyOfBroken(file)));
                if (IdSpan.Without(file.Granted, OutsideOf(mapping, kind)) is { Count: > 0 } left)
                {
                    lacking.Add(IdSpan.Without(left, machine.Namespace(kind)).Count > 0
                        ? new($"{file.Path} grants {IdSpan.Show(left)} besides, which this process's user namespace lacks", IdRemedies.ForContainer(machine, kind))
                        : new($"{file.Path} grants {IdSpan.Show(left)} besides, for which the kernel's map of ids has no room", $"As root: grant fewer and longer ranges in {file.Path}."));
                }
            }
        }

        return new(mapping) { Lacking = lacking, Shared = shared };
    }

    private static IdMappingDecision OwnId(IdMachine machine, EnvironmentDiagnosis reason)
    {
        if (FindUnmappable(machine.Files, machine.Status) is { } unmappable)
            return new(null, unmappable);
        var mapping = new IdMapping
        {
            Uids = [new IdRange(0, machine.User.Id, 1)],
            Gids = [new IdRange(0, Posix.EffectiveGroupId, 1)],
            Method = IdMappingMethod.Self,
        };
        return new(mapping) { Lacking = [reason with { Found = $"{reason.Found}: functions run as this very user, and an image's files all belong to one id" }] };
    }

    /// <summary>As text: <c>user ids 2010000000-2147483647 and group ids 2010000000-2147483647</c>.</summary>
    public static string Show(IdMapping mapping) =>
        string.Join(" and ", Kinds.Select(kind => $"the {IdRemedies.Name(kind)} {IdSpan.Show(OutsideOf(mapping, kind))} ({IdSpan.Total(OutsideOf(mapping, kind))})"));

    private static IEnumerable<EnvironmentDiagnosis> FindShared(IdMachine machine, IdMapping mapping)
    {
        const int shown = 3;
        foreach (IdKind kind in Kinds)
        {
            (IdSpan Ids, string Owner)[] others = [.. machine.OthersWith(kind, OutsideOf(mapping, kind))];
            if (others.Length == 0)
                continue;
            string whose = string.Join("; ", others.Take(shown).Select(o => $"{o.Ids}, {o.Owner}")) + (others.Length > shown ? $"; and {others.Length - shown} more" : "");
            yield return new(
                $"functions get {IdRemedies.Name(kind)} that others have too, who may then signal them or change their files: {whose}",
                mapping.Method == IdMappingMethod.SubordinateIds ? $"As root: see in {machine.Subordinate(kind).Path} that each user's ids are nobody else's."
                : machine.FindFree(DefaultRoot, int.MaxValue, Enough) is { } free ? $"Map ids that nobody has, from {free.First} on (option RootUid, option RootGid), or give the others new ones."
                : IsComplete(machine.Namespace(kind)) ? "Give the others new ones." : IdRemedies.ForContainer(machine, kind));
        }
    }

    private static string RemedyOfBroken(SubordinateIds file) => file.HasBlanks
        ? "As root: sed -i '/^#/!s/[[:space:]]//g' /etc/subuid /etc/subgid."
        : "As root: write the line as NAME:FIRST:COUNT, with plain numbers.";

    private static IReadOnlyList<IdSpan> OutsideOf(IdMapping mapping, IdKind kind) =>
        [.. (kind == IdKind.User ? mapping.Uids : mapping.Gids).Select(r => new IdSpan(r.Outside, r.Count))];

    private static IdMappingDecision Refuse(string found, string remedy) => new(null, new EnvironmentDiagnosis(found, remedy));

    private static IdMapping Map(IReadOnlyList<IdSpan> uids, IReadOnlyList<IdSpan> gids, IdMappingMethod method) => new() { Uids = RangesOf(uids), Gids = RangesOf(gids), Method = method };

    /// <summary>The first of some ids becomes 0, and so on; as many as the kernel takes.</summary>
    private static List<IdRange> RangesOf(IReadOnlyList<IdSpan> ids)
    {
        var ranges = new List<IdRange>();
        uint inside = 0;
        int bytes = 0;
        foreach (IdSpan s in ids)
        {
            var range = new IdRange(inside, s.First, Math.Min(s.Count, uint.MaxValue - inside));
            bytes += $"{range.Inside} {range.Outside} {range.Count}\n".Length;
            if (range.Count == 0 || bytes >= MapBytes || ranges.Count == MapRanges)
                break;
            ranges.Add(range);
            inside += range.Count;
        }

        return ranges;
    }

    /// <summary>The programs that map subordinate ids.</summary>
    private static class Helpers
    {
        private static readonly string[] Programs = ["newuidmap", "newgidmap"];

        public static EnvironmentDiagnosis? FindMissing() => Programs.FirstOrDefault(p => Executables.Find(p) is null) is { } program
            ? new($"there is no {program} in PATH", $"Install it: {SystemPackage.IdMapping.Command}.")
            : null;

        /// <summary>Why mapping them would fail all the same; null when nothing speaks against it.</summary>
        public static EnvironmentDiagnosis? FindBroken(IdMachine machine)
        {
            if (machine.Status.NoNewPrivileges)
                return new("this process may gain no privileges (no_new_privs), so newuidmap cannot work",
                    "Start it without NoNewPrivileges=yes, or without the container's allowPrivilegeEscalation: false; or map the caller alone (option IdMapping=Self).");
            return Programs.Select(p => Executables.Find(p)!).FirstOrDefault(path => !CanElevate(path, machine.Files)) is { } broken
                ? new($"{broken} is neither setuid root nor has it file capabilities, or its mount has nosuid",
                    $"As root: chmod u+s {broken}, or reinstall its package; or map the caller alone (option IdMapping=Self).")
                : null;
        }

        private static bool CanElevate(string path, SystemFiles files)
        {
            Debug.Assert(HostPlatform.IsLinux);
            bool isElevated = (File.GetUnixFileMode(path).HasFlag(UnixFileMode.SetUser) && Posix.OwnerOf(path) == 0) || Posix.HasAttribute(path, "security.capability");
            return isElevated && MountTable.Find(MountTable.Read(files), path)?.Options.Contains("nosuid") != true;
        }
    }
}
