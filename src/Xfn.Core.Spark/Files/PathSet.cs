using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>A set of paths.</summary>
internal sealed class PathSet
{
    private readonly HashSet<byte[]> _paths = new(Comparer.Instance);
    private readonly HashSet<byte[]>.AlternateLookup<ReadOnlySpan<byte>> _lookup;

    public PathSet() => _lookup = _paths.GetAlternateLookup<ReadOnlySpan<byte>>();

    public IEnumerable<byte[]> Paths => _paths;

    public int Count => _paths.Count;

    /// <returns>Whether it was not in the set before.</returns>
    public bool Add(ReadOnlySpan<byte> path) => _lookup.Add(path);

    public bool Contains(ReadOnlySpan<byte> path) => _paths.Count > 0 && _lookup.Contains(path);

    /// <summary>Whether the path, or a directory above it, is in the set.</summary>
    public bool ContainsAncestorOrSelf(ReadOnlySpan<byte> path)
    {
        while (!Contains(path))
        {
            if (path.IsEmpty)
                return false;
            path = EntryPath.Parent(path);
        }

        return true;
    }

    private sealed class Comparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        public static readonly Comparer Instance = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public int GetHashCode(byte[] path) => GetHashCode(path.AsSpan());

        // Seeded per process: names are an attacker's.
        public int GetHashCode(ReadOnlySpan<byte> path)
        {
            var hash = new HashCode();
            hash.AddBytes(path);
            return hash.ToHashCode();
        }

        public byte[] Create(ReadOnlySpan<byte> path) => path.ToArray();
    }
}
