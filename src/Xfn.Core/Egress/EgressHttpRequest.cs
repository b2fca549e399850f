using System.Globalization;

namespace Xfn.Core.Egress;

/// <summary>A request to the proxy: a tunnel (CONNECT), or a message for another server (<c>GET http://HOST/…</c>).
/// <see href="https://www.rfc-editor.org/rfc/rfc9110#section-7.6">RFC 9110, section 7.6</see>.</summary>
/// <param name="Target">Where to.</param>
/// <param name="Head">The head that is sent there; null for a tunnel.</param>
/// <param name="Body">What of the following bytes is the message's.</param>
internal sealed record EgressHttpRequest(EgressTarget Target, byte[]? Head, EgressHttpBody Body)
{
    private const string Scheme = "http://";

    /// <summary>Reads a head that <see cref="EgressHttpHead.FindEnd"/> found.</summary>
    /// <param name="bytes">The bytes of the head.</param>
    /// <param name="found">Otherwise: what is wrong with it, as a clause.</param>
    public static EgressHttpRequest? TryParse(ReadOnlySpan<byte> bytes, out string found)
    {
        if (EgressHttpHead.TryParse(bytes, out found) is not { } head)
            return null;
        string[] parts = head.StartLine.Split(' ');
        if (parts is not [var method, var target, "HTTP/1.1" or "HTTP/1.0"] || !EgressHttpHead.IsToken(method) || target.Any(c => c is <= ' ' or >= '\x7f'))
        {
            found = "its first line is not 'METHOD TARGET HTTP/1.1'";
            return null;
        }

        string version = parts[2]["HTTP/".Length..];
        found = head.Values("Host").Length > 1 ? "it has more than one Host" : "";
        EgressHttpBody? body = found.Length == 0 ? BodyOf(head, version, out found) : null;
        return body is null ? null
            : method == "CONNECT" ? Tunnel(target, head, body, out found)
            : Message(method, target, version, head, body, out found);
    }

    private static EgressHttpRequest? Tunnel(string target, EgressHttpHead head, EgressHttpBody body, out string found)
    {
        EgressTarget? parsed = EgressTarget.TryParse(target, 0, out found);
        if (parsed is null || body.IsComplete)
            return parsed is null ? null : new EgressHttpRequest(parsed, null, body);
        found = "CONNECT has no content";
        return null;
    }

    private static EgressHttpRequest? Message(string method, string target, string version, EgressHttpHead head, EgressHttpBody body, out string found)
    {
        if (!target.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            found = "it names no host: write the whole address, http://HOST/PATH; other schemes than http need CONNECT";
            return null;
        }

        int end = target.AsSpan(Scheme.Length).IndexOfAny("/?#") is var slash and >= 0 ? Scheme.Length + slash : target.Length;
        string authority = target[Scheme.Length..end], path = target[end..];
        if (path.Contains('#', StringComparison.Ordinal))
        {
            found = "its address has a fragment";
            return null;
        }

        if (EgressTarget.TryParse(authority, 80, out found) is not { } parsed)
            return null;
        if (path is not ['/', ..])
            path = path.Length == 0 && method == "OPTIONS" ? "*" : "/" + path;
        return new EgressHttpRequest(parsed, head.Forwarded($"{method} {path} HTTP/{version}", version, authority), body);
    }

    /// <summary>What the fields say of the body, in the only ways that all readers understand alike.</summary>
    private static EgressHttpBody? BodyOf(EgressHttpHead head, string version, out string found)
    {
        string[] codings = head.Values("Transfer-Encoding"), lengths = head.Values("Content-Length");
        found = codings.Length > 0 && lengths.Length > 0 ? "it has both Content-Length and Transfer-Encoding"
            : codings.Length > 0 && version == "1.0" ? "it has a Transfer-Encoding in HTTP/1.0"
            : codings.Length > 1 || (codings is [var coding] && !EgressHttpHead.Is(coding, "chunked")) ? "its Transfer-Encoding is not 'chunked'"
            : lengths.Length > 1 ? "it has more than one Content-Length"
            : lengths is [var text] && (text.Length is 0 or > 18 || text.Any(c => !char.IsAsciiDigit(c))) ? "its Content-Length is no number"
            : head.Named().Any(name => EgressHttpHead.Is(name, "Content-Length") || EgressHttpHead.Is(name, "Transfer-Encoding") || EgressHttpHead.Is(name, "Host")) ? "its Connection names a header that is the message's"
            : "";
        return found.Length > 0 ? null
            : codings.Length > 0 ? EgressHttpBody.Chunked()
            : EgressHttpBody.Sized(lengths is [var length] ? long.Parse(length, CultureInfo.InvariantCulture) : 0);
    }
}

/// <summary>The head of an answer, as it is sent on.</summary>
/// <param name="Head">The bytes.</param>
/// <param name="IsLast">Whether the answer's body follows. Before it may come such as 100 Continue.</param>
internal sealed record EgressHttpResponse(byte[] Head, bool IsLast)
{
    /// <summary>Reads a head that <see cref="EgressHttpHead.FindEnd"/> found; null for one that is none.</summary>
    public static EgressHttpResponse? TryParse(ReadOnlySpan<byte> bytes)
    {
        if (EgressHttpHead.TryParse(bytes, out _) is not { } head)
            return null;
        string[] parts = head.StartLine.Split(' ', 3);

        // 101 answers an Upgrade, which is not sent on.
        return parts is ["HTTP/1.1" or "HTTP/1.0", { Length: 3 } status, ..] && status.All(char.IsAsciiDigit) && status != "101"
            ? new EgressHttpResponse(head.Forwarded(head.StartLine, parts[0]["HTTP/".Length..], null), status[0] != '1')
            : null;
    }
}
