using System.Globalization;
using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

internal enum IdKind
{
    /// <summary>User ids: /etc/subuid, uid_map.</summary>
    User,

    /// <summary>Group ids: /etc/subgid, gid_map.</summary>
    Group,
}

/// <summary>What /etc/subuid or /etc/subgid says. See <see
/// href="https://man7.org/linux/man-pages/man5/subuid.5.html">subuid(5)</see>.</summary>
/// <remarks>A line counts if newuidmap of every version takes it: three fields, plain decimal numbers, no blanks. Some
/// versions also take a blank before a number, or read one that starts with 0 as octal.</remarks>
/// <param name="Path">The file.</param>
/// <param name="Granted">What is granted to the user, in the order of the lines, each id once.</param>
/// <param name="Broken">Lines that seem to be the user's and do not count, each with its number and what is wrong:
/// <c>/etc/subuid, line 3, ends with a carriage return</c>.</param>
/// <param name="HasBlanks">Whether it is by blanks, carriage returns among them, that a line is broken.</param>
/// <param name="OfOthers">What is granted to others: their names, with the line, and the ids.</param>
/// <param name="Exists">Whether there is such a file.</param>
/// <param name="EndsWithNewLine">Whether a line can be added behind the last one as it is.</param>
internal sealed record SubordinateIds(
    string Path, IReadOnlyList<IdSpan> Granted, IReadOnlyList<string> Broken, bool HasBlanks,
    IReadOnlyList<(string Owner, IdSpan Ids)> OfOthers, bool Exists, bool EndsWithNewLine)
{
    public static SubordinateIds Read(SystemFiles files, IdKind kind, SystemUser user)
    {
        string path = kind == IdKind.User ? "/etc/subuid" : "/etc/subgid";
        string? text = files.ReadText(path);
        var granted = new List<IdSpan>();
        var broken = new List<string>();
        var others = new List<(string, IdSpan)>();
        int number = 0;
        bool hasBlanks = false;
        foreach (string line in (text ?? "").Split('\n'))
        {
            number++;
            string[] fields = line.Split(':');
            string owner = fields[0].Trim();
            if (owner.Length == 0 || owner[0] == '#' || fields.Length == 1)
                continue;
            bool isUsers = owner == user.Name || owner == user.Number;
            if (FaultOf(line, fields) is { } fault)
            {
                if (!isUsers)
                    continue;
                broken.Add($"{path}, line {number}, {fault}");
                hasBlanks |= line.Any(char.IsWhiteSpace);
            }
            else if (IdSpan.Of(ulong.Parse(fields[1], CultureInfo.InvariantCulture), ulong.Parse(fields[2], CultureInfo.InvariantCulture)) is { } ids)
            {
                if (isUsers)
                    granted.AddRange(IdSpan.Without([ids], granted));
                else
                    others.Add(($"subordinate ids of '{owner}' ({path}, line {number})", ids));
            }
        }

        return new SubordinateIds(path, granted, broken, hasBlanks, others, Exists: text is not null, EndsWithNewLine: text is null or "" or [.., '\n']);
    }

    /// <summary>What is wrong with a line; null for nothing.</summary>
    private static string? FaultOf(string line, string[] fields) =>
        line.EndsWith('\r') ? "ends with a carriage return"
        : line.Any(char.IsWhiteSpace) ? "has a blank"
        : fields.Length != 3 ? $"has {fields.Length} fields"
        : !IsPlain(fields[1]) || !IsPlain(fields[2]) ? "has a field that is no plain number"
        : fields[2] == "0" ? "grants no id"
        : null;

    private static bool IsPlain(string text) =>
        text.Length is > 0 and <= 18 && text.All(char.IsAsciiDigit) && (text[0] != '0' || text.Length == 1);
}

/// <summary>The user who runs this program.</summary>
/// <param name="Id">The effective user id.</param>
/// <param name="Name">Its name; empty when it has none, and newuidmap maps nothing for it.</param>
internal sealed record SystemUser(uint Id, string Name)
{
    public static SystemUser Current => new(Posix.EffectiveUserId, CurrentName);

    /// <summary>The id as /etc/subuid may have it in place of the name.</summary>
    public string Number => Id.ToString(CultureInfo.InvariantCulture);

    private static string CurrentName
    {
        get
        {
            try
            {
                return Environment.UserName;
            }
            catch (IOException)
            {
                // As where there is no /etc/passwd, in a small image: nobody has a name there.
                return "";
            }
        }
    }

    public override string ToString() => Name.Length > 0 ? $"user '{Name}' ({Number})" : $"user id {Number}";
}
