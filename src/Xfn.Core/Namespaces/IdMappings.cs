using System.Globalization;
using Xfn.Core.Preflight;
using Xfn.Core.Preflight.Checks;

namespace Xfn.Core.Namespaces;

/// <summary>Decides which ids a function's user namespace has.</summary>
internal static class IdMappings
{
    /// <summary>The mapping that this process can make.</summary>
    /// <param name="setUid">Whether to map many ids with capabilities (true), only the caller's own (false), or the most that is possible (null).</param>
    /// <param name="rootUid">The user id that becomes root, where capabilities allow to choose.</param>
    /// <param name="rootGid">The group id that becomes root.</param>
    public static IdMapping Find(bool? setUid, uint rootUid, uint rootGid)
    {
        bool capable = Capabilities.HasSetUid && Capabilities.HasSetGid;
        if (setUid == true && !capable)
        {
            throw new ContainerEnvironmentException(
                RunStage.Validate,
                "cannot map user ids as SetUID(true) asks: this process lacks CAP_SETUID or CAP_SETGID. Grant both, or leave SetUID out to use what is there.");
        }

        if (setUid != false && capable)
        {
            return new IdMapping
            {
                Uids = [new IdRange(0, rootUid, ContainerRunner.UserNamespaceUIDs)],
                Gids = [new IdRange(0, rootGid, ContainerRunner.UserNamespaceGIDs)],
                Method = IdMappingMethod.Capabilities,
            };
        }

        if (setUid is null && Executables.Find("newuidmap") is not null && Executables.Find("newgidmap") is not null
            && SubordinateIds("/etc/subuid", Posix.EffectiveUserId, ContainerRunner.UserNamespaceUIDs) is { Length: > 0 } uids
            && SubordinateIds("/etc/subgid", Posix.EffectiveUserId, ContainerRunner.UserNamespaceGIDs) is { Length: > 0 } gids)
        {
            // Not the caller's own id instead: whoever was given subordinate ids was given a barrier between functions and himself, and is to know when it falls.
            Refuse(IdMappingCheck.FindBroken(new SystemFiles(), ProcessStatus.Read(new SystemFiles())), "map subordinate ids");
            return new IdMapping { Uids = uids, Gids = gids, Method = IdMappingMethod.SubordinateIds };
        }

        Refuse(IdMappingCheck.FindUnmappable(new SystemFiles(), ProcessStatus.Read(new SystemFiles())), "map the caller's own id");
        return new IdMapping
        {
            Uids = [new IdRange(0, Posix.EffectiveUserId, 1)],
            Gids = [new IdRange(0, Posix.EffectiveGroupId, 1)],
            Method = IdMappingMethod.Self,
        };
    }

    private static void Refuse(EnvironmentDiagnosis? found, string attempt)
    {
        if (found is not null)
            throw found.ToException(RunStage.Validate, attempt);
    }

    /// <summary>A user's ranges, the first id of the first one becoming 0. See <see href="https://man7.org/linux/man-pages/man5/subuid.5.html">subuid(5)</see>.</summary>
    internal static IdRange[] SubordinateIds(string path, uint uid, uint most)
    {
        if (!File.Exists(path))
            return [];
        string name = Environment.UserName;
        string number = uid.ToString(CultureInfo.InvariantCulture);
        var ranges = new List<IdRange>();
        uint inside = 0;
        foreach (string line in File.ReadLines(path))
        {
            if (line.Split(':') is not [var user, var first, var count] || user != name && user != number)
                continue;
            if (!uint.TryParse(first, CultureInfo.InvariantCulture, out uint outside) || !uint.TryParse(count, CultureInfo.InvariantCulture, out uint size))
                continue;
            size = Math.Min(size, most - inside);
            if (size == 0)
                continue;
            ranges.Add(new IdRange(inside, outside, size));
            inside += size;
        }

        return [.. ranges];
    }
}
