namespace Xfn.Core.Spark.Files;

/// <summary>Which ids the user namespace has.</summary>
internal sealed class IdMap
{
    private readonly (uint First, uint Last)[] _ranges;

    private IdMap((uint, uint)[] ranges) => _ranges = ranges;

    /// <summary>Reads <c>/proc/self/uid_map</c> or <c>gid_map</c>.</summary>
    public static IdMap Read(string path) => Parse(File.ReadAllText(path));

    /// <summary>Parses lines of <c>INSIDE OUTSIDE COUNT</c>.</summary>
    public static IdMap Parse(string map) => new(
        [.. map.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
        {
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            uint first = uint.Parse(fields[0], System.Globalization.CultureInfo.InvariantCulture);
            return (first, first + uint.Parse(fields[2], System.Globalization.CultureInfo.InvariantCulture) - 1);
        })]);

    public bool Contains(uint id)
    {
        foreach ((uint first, uint last) in _ranges)
        {
            if (id >= first && id <= last)
                return true;
        }

        return false;
    }

    /// <summary>The ranges, for messages.</summary>
    public override string ToString() => string.Join(", ", _ranges.Select(range => range.First == range.Last ? $"{range.First}" : $"{range.First}-{range.Last}"));
}
