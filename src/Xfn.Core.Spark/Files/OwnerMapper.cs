using System.Globalization;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Whose an entry becomes.</summary>
internal sealed class OwnerMapper(IdMap uids, IdMap gids, bool squash, UnpackWarnings warnings)
{
    private const uint SetUid = 0x800;
    private const uint SetGid = 0x400;

    /// <summary>The highest user id that was given.</summary>
    public uint HighestUid { get; private set; }

    /// <summary>The highest group id that was given.</summary>
    public uint HighestGid { get; private set; }

    /// <summary>Owner, group and mode of the reader's entry.</summary>
    /// <exception cref="SparkException">The mapping lacks one of its ids, and it must not be given to root.</exception>
    public (uint Uid, uint Gid, uint Mode) Of(TarReader reader)
    {
        TarEntry entry = reader.Entry;
        bool uid = entry.Uid == 0 || uids.Contains(entry.Uid);
        bool gid = entry.Gid == 0 || gids.Contains(entry.Gid);
        if (uid)
            HighestUid = Math.Max(HighestUid, entry.Uid);
        if (gid)
            HighestGid = Math.Max(HighestGid, entry.Gid);
        if (uid && gid)
            return (entry.Uid, entry.Gid, entry.Mode);
        if (!squash)
        {
            throw uid
                ? reader.Refused(SparkFailureKind.UnmappedGroup, $"its group is {entry.Gid}, but the user namespace has {gids} only", id: entry.Gid)
                : reader.Refused(SparkFailureKind.UnmappedUser, $"its owner is {entry.Uid}, but the user namespace has {uids} only", id: entry.Uid);
        }

        warnings.Squashed(entry);
        // A program that was to become somebody must not become root instead.
        uint mode = entry.Kind == TarEntryKind.File ? entry.Mode & ~((uid ? 0 : SetUid) | (gid ? 0 : SetGid)) : entry.Mode;
        return (uid ? entry.Uid : 0, gid ? entry.Gid : 0, mode);
    }
}

/// <summary>Which ids the user namespace has.</summary>
internal sealed class IdMap((uint First, uint Last)[] ranges)
{
    public static IdMap Read(string path) => Parse(File.ReadAllText(path));

    /// <summary>Parses lines of <c>INSIDE OUTSIDE COUNT</c>.</summary>
    public static IdMap Parse(string map) => new(
        [.. map.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
        {
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            uint first = uint.Parse(fields[0], CultureInfo.InvariantCulture);
            return (first, first + uint.Parse(fields[2], CultureInfo.InvariantCulture) - 1);
        })]);

    public bool Contains(uint id) => Array.Exists(ranges, range => id >= range.First && id <= range.Last);

    /// <summary>The ranges, for messages.</summary>
    public override string ToString() => string.Join(", ", ranges.Select(range => range.First == range.Last ? $"{range.First}" : $"{range.First}-{range.Last}"));
}
