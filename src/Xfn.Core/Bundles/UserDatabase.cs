using System.Globalization;
using System.Text;

namespace Xfn.Core.Bundles;

/// <summary>Reads passwd(5) and group(5) as they are found in images: lines that are none are passed over.</summary>
internal static class UserDatabase
{
    public readonly record struct User(string Name, uint Uid, uint Gid, string Home);

    public static User? FindUser(ReadOnlySpan<byte> passwd, string name)
    {
        byte[] wanted = Encoding.UTF8.GetBytes(name);
        while (TryReadLine(ref passwd, out ReadOnlySpan<byte> line))
        {
            if (Field(line, 0).SequenceEqual(wanted) && TryReadUser(line, out User user))
                return user;
        }

        return null;
    }

    public static User? FindUser(ReadOnlySpan<byte> passwd, uint uid)
    {
        while (TryReadLine(ref passwd, out ReadOnlySpan<byte> line))
        {
            if (TryReadUser(line, out User user) && user.Uid == uid)
                return user;
        }

        return null;
    }

    public static uint? FindGroup(ReadOnlySpan<byte> group, string name)
    {
        byte[] wanted = Encoding.UTF8.GetBytes(name);
        while (TryReadLine(ref group, out ReadOnlySpan<byte> line))
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
        while (TryReadLine(ref group, out ReadOnlySpan<byte> line))
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

    /// <summary>The next line, without LF or CRLF; skips comments and NIS's <c>+</c> and <c>-</c> lines.</summary>
    private static bool TryReadLine(ref ReadOnlySpan<byte> text, out ReadOnlySpan<byte> line)
    {
        while (!text.IsEmpty)
        {
            int end = text.IndexOf((byte)'\n');
            line = (end < 0 ? text : text[..end]).TrimEnd((byte)'\r');
            text = end < 0 ? [] : text[(end + 1)..];
            if (!line.IsEmpty && line[0] is not ((byte)'#' or (byte)'+' or (byte)'-'))
                return true;
        }

        line = [];
        return false;
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
}
