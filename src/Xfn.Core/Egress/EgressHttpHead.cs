using System.Buffers;
using System.Text;

namespace Xfn.Core.Egress;

/// <summary>The head of an HTTP/1 message: its first line and its fields, read as strictly as any reader does, so that
/// all readers behind the proxy see the same message.
/// <see href="https://www.rfc-editor.org/rfc/rfc9112">RFC 9112</see>.</summary>
/// <param name="StartLine">The first line. It has no control characters.</param>
/// <param name="Fields">Names as they were written, and values without blanks around them.</param>
internal sealed record EgressHttpHead(string StartLine, IReadOnlyList<(string Name, string Value)> Fields)
{
    private static readonly SearchValues<char> TokenCharacters = SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    // These are between two neighbours, and no business of the next one.
    private static readonly string[] HopByHop = ["Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "TE", "Upgrade"];

    /// <summary>Where a head ends that begins a buffer, the empty line included; 0 where it does not end yet.</summary>
    /// <param name="bytes">What was read so far.</param>
    /// <param name="line">Where the first line begins that did not end yet; 0 at first.</param>
    /// <param name="isMalformed">Whether a line ends by a line feed alone, which would be waited on in vain.</param>
    public static int FindEnd(ReadOnlySpan<byte> bytes, ref int line, out bool isMalformed)
    {
        isMalformed = false;
        while (bytes[line..].IndexOf((byte)'\n') is var length and >= 0)
        {
            if (length == 0 || bytes[line + length - 1] != '\r')
            {
                isMalformed = true;
                return 0;
            }

            line += length + 1;
            if (length == 1)
                return line;
        }

        return 0;
    }

    /// <summary>Reads a head that <see cref="FindEnd"/> found.</summary>
    /// <param name="head">The bytes of the head, the empty line included.</param>
    /// <param name="found">Otherwise: what is wrong with it, as a clause.</param>
    public static EgressHttpHead? TryParse(ReadOnlySpan<byte> head, out string found)
    {
        if (head.Length <= 4)
            return Fault("its first line is empty", out found);
        string[] lines = Encoding.Latin1.GetString(head[..^4]).Split("\r\n");
        if (lines[0].Any(char.IsControl))
            return Fault("its first line has control characters", out found);
        var fields = new List<(string, string)>(lines.Length - 1);
        foreach (string line in lines.AsSpan(1))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (line[0] is ' ' or '\t')
                return Fault("a header is folded over lines", out found);
            if (colon < 0 || !IsToken(line.AsSpan(0, colon)))
                return Fault("a header's name is none", out found);
            string value = line[(colon + 1)..].Trim(' ', '\t');
            if (value.Any(c => c is < ' ' and not '\t' or '\x7f'))
                return Fault("a header's value has control characters", out found);
            fields.Add((line[..colon], value));
        }

        found = "";
        return new EgressHttpHead(lines[0], fields);

        static EgressHttpHead? Fault(string what, out string found)
        {
            found = what;
            return null;
        }
    }

    public static bool IsToken(ReadOnlySpan<char> text) => text.Length > 0 && text.IndexOfAnyExcept(TokenCharacters) < 0;

    /// <summary>The values of the fields of a name.</summary>
    public string[] Values(string name) => [.. Fields.Where(field => Is(field.Name, name)).Select(field => field.Value)];

    /// <summary>What the sender named in <c>Connection</c>.</summary>
    public string[] Named() => [.. Values("Connection").SelectMany(value => value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))];

    /// <summary>The head that is sent on: the fields but those between two neighbours, the last message of its
    /// connection.</summary>
    /// <param name="startLine">The first line.</param>
    /// <param name="version">The sender's version, as <c>1.1</c>.</param>
    /// <param name="host">What <c>Host</c> says in place of what the sender wrote; null for a response.</param>
    public byte[] Forwarded(string startLine, string version, string? host)
    {
        string[] named = Named();
        var text = new StringBuilder().Append(startLine).Append("\r\n");
        if (host is not null)
            text.Append("Host: ").Append(host).Append("\r\n");
        foreach ((string name, string value) in Fields)
        {
            if (!HopByHop.Concat(named).Any(hop => Is(name, hop)) && !(host is not null && Is(name, "Host")))
                text.Append(name).Append(": ").Append(value).Append("\r\n");
        }

        return Encoding.Latin1.GetBytes(text.Append("Via: ").Append(version).Append(" xfn\r\nConnection: close\r\n\r\n").ToString());
    }

    public static bool Is(string name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);
}
