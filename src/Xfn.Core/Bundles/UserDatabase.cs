using System.Globalization;
using System.Text;

namespace Xfn.Core.Bundles;

/// <summary>Reads passwd(5) and group(5) as they are found in images: lines that are none are passed over.</summary>
internal static class UserDatabase
{
    /// <param name="Name">The user's name.</param>
    /// <param name="Uid">Its id.</param>
    /// <param name="Gid">Its primary group's id.</param>
    /// <param name="Home">Its home directory; empty when none is given.</param>
    public readonly record struct User(string Name, uint Uid, uint Gid, string Home);

    /// <summary>The first user of a name.</summary>
    public static User? FindUser(ReadOnlySpan<byte> passwd, string name)
    {
        byte[] wanted = Encoding.UTF8.GetBytes(name);
        foreach (ReadOnlySpan<byte> line in new Lines(passwd))
        {
            if (Field(line, 0).SequenceEqual(wanted) && TryReadUser(line, out User user))
                return user;
        }
        return null;
    }

    /// <summary>The first user of an id.</summary>
    public static User? FindUser(ReadOnlySpan<byte> passwd, uint uid)
    {
        foreach (ReadOnlySpan<byte> line in new Lines(passwd))
        {
            if (TryReadId(Field(line, 2), out uint found) && found == uid && TryReadUser(line, out User user))
                return user;
        }
        return null;
    }

    /// <summary>The first group of a name.</summary>
    public static uint? FindGroup(ReadOnlySpan<byte> group, string name)
    {
        byte[] wanted = Encoding.UTF8.GetBytes(name);
        foreach (ReadOnlySpan<byte> line in new Lines(group))
        {
            if (Field(line, 0).SequenceEqual(wanted) && TryReadId(Field(line, 2), out uint gid))
                return gid;
        }
        return null;
    }

    /// <summary>The groups that list a user as a member.</summary>
    public static SortedSet<uint> FindGroupsOf(ReadOnlySpan<byte> group, string user)
    {
        byte[] wanted = Encoding.UTF8.GetBytes(user);
        var gids = new SortedSet<uint>();
        foreach (ReadOnlySpan<byte> line in new Lines(group))
        {
            ReadOnlySpan<byte> members = Field(line, 3);
            foreach (Range member in members.Split((byte)','))
            {
                if (members[member].Trim(" \t"u8).SequenceEqual(wanted) && TryReadId(Field(line, 2), out uint gid))
                    gids.Add(gid);
            }
        }
        return gids;
    }

    private static bool TryReadUser(ReadOnlySpan<byte> line, out User user)
    {
        user = default;
        if (!TryReadId(Field(line, 2), out uint uid) || !TryReadId(Field(line, 3), out uint gid))
            return false;
        user = new User(Encoding.UTF8.GetString(Field(line, 0)), uid, gid, Encoding.UTF8.GetString(Field(line, 5)));
        return true;
    }

    private static bool TryReadId(ReadOnlySpan<byte> text, out uint id) =>
        uint.TryParse(text.Trim(" \t"u8), NumberStyles.None, CultureInfo.InvariantCulture, out id);

    /// <summary>The field of a number; empty when the line has fewer.</summary>
    private static ReadOnlySpan<byte> Field(ReadOnlySpan<byte> line, int number)
    {
        for (; number > 0; number--)
        {
            int colon = line.IndexOf((byte)':');
            if (colon < 0)
                return [];
            line = line[(colon + 1)..];
        }
        int end = line.IndexOf((byte)':');
        return end < 0 ? line : line[..end];
    }

    /// <summary>Lines without their end, be it LF or CRLF; comments and NIS's <c>+</c> and <c>-</c> lines left out.</summary>
    private ref struct Lines(ReadOnlySpan<byte> text)
    {
        private ReadOnlySpan<byte> _rest = text;

        public ReadOnlySpan<byte> Current { get; private set; }

        public readonly Lines GetEnumerator() => this;

        public bool MoveNext()
        {
            while (!_rest.IsEmpty)
            {
                int end = _rest.IndexOf((byte)'\n');
                Current = (end < 0 ? _rest : _rest[..end]).TrimEnd((byte)'\r');
                _rest = end < 0 ? [] : _rest[(end + 1)..];
                if (!Current.IsEmpty && Current[0] is not ((byte)'#' or (byte)'+' or (byte)'-'))
                    return true;
            }
            return false;
        }
    }
}
