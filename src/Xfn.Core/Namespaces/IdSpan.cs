using System.Globalization;
using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>Consecutive ids: the first one, and how many there are, at least 1.</summary>
/// <remarks>A class: .NET brings its collections and queries compiled for all classes. For a struct of ours each process
/// would have to compile them.</remarks>
internal sealed record IdSpan(uint First, uint Count)
{
    /// <summary>The highest id there is: 4,294,967,295 means "none" to the kernel.</summary>
    public const uint Highest = uint.MaxValue - 1;

    public uint Last => First + (Count - 1);

    /// <summary>Ids from a first one on, without those that do not exist; null when none of them does.</summary>
    public static IdSpan? Of(ulong first, ulong count) =>
        first > Highest || count == 0 ? null : new IdSpan((uint)first, (uint)Math.Min(count, Highest - first + 1));

    /// <summary>The ids of this process's user namespace, in order: all, where it is the machine's.</summary>
    public static IReadOnlyList<IdSpan> OfNamespace(SystemFiles files, IdKind kind)
    {
        IReadOnlyList<string> lines = files.ReadLines(kind == IdKind.User ? "/proc/self/uid_map" : "/proc/self/gid_map");
        return lines.Count == 0
            ? [new IdSpan(0, uint.MaxValue)]
            : [.. lines.Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Select(fields => new IdSpan(uint.Parse(fields[0], CultureInfo.InvariantCulture), uint.Parse(fields[2], CultureInfo.InvariantCulture)))
                .OrderBy(s => s.First)];
    }

    /// <summary>Those of some ids that are among others, in their order.</summary>
    public static IReadOnlyList<IdSpan> Among(IEnumerable<IdSpan> ids, IReadOnlyList<IdSpan> others) =>
        [.. ids.SelectMany(s => others.OrderBy(o => o.First).Select(o => Between(Math.Max(s.First, o.First), Math.Min(s.Last, o.Last)))).OfType<IdSpan>()];

    /// <summary>Those of some ids that are not among others, in their order.</summary>
    public static IReadOnlyList<IdSpan> Without(IEnumerable<IdSpan> ids, IEnumerable<IdSpan> others) =>
        others.Aggregate((IReadOnlyList<IdSpan>)[.. ids], (left, o) => [.. left.SelectMany(s => Cut(s, o))]);

    /// <summary>The last ones of some ordered ids.</summary>
    public static IReadOnlyList<IdSpan> TakeLast(IReadOnlyList<IdSpan> ids, uint count)
    {
        var taken = new List<IdSpan>();
        foreach (IdSpan s in ids.Reverse())
        {
            uint size = Math.Min(s.Count, count);
            if (size == 0)
                break;
            taken.Insert(0, new IdSpan(s.Last - (size - 1), size));
            count -= size;
        }

        return taken;
    }

    public static ulong Total(IEnumerable<IdSpan> ids) => ids.Aggregate(0UL, (sum, s) => sum + s.Count);

    /// <summary>For messages: <c>0-999, 5000</c>.</summary>
    public static string Show(IEnumerable<IdSpan> ids) => string.Join(", ", ids.Select(s => s.ToString()));

    public override string ToString() => Count == 1 ? $"{First}" : $"{First}-{Last}";

    private static IEnumerable<IdSpan> Cut(IdSpan s, IdSpan o)
    {
        if (o.First > s.Last || o.Last < s.First)
        {
            yield return s;
            yield break;
        }

        if (o.First > s.First)
            yield return new IdSpan(s.First, o.First - s.First);
        if (o.Last < s.Last)
            yield return new IdSpan(o.Last + 1, s.Last - o.Last);
    }

    private static IdSpan? Between(uint first, uint last) => first <= last ? new IdSpan(first, last - first + 1) : null;
}
