using System.Net.Sockets;
using Xfn.Core.Interop;

namespace Xfn.Core.Remote;

/// <summary>How an address is reached.</summary>
internal enum ServerAddressKind
{
    Unix,
    Http,
    Https,
    Dns,
}

/// <summary>Where a server is, or the servers of a name are; the text is as it was written. It has a socket, or a host
/// or name and a port.</summary>
internal sealed record ServerAddress(ServerAddressKind Kind, string Text, UnixDomainSocketEndPoint? Socket = null, string Host = "", int Port = 0)
{
    private const string Expected = "expected unix:PATH, unix-abstract:NAME (or @NAME), http://HOST:PORT, https://HOST:PORT or dns:///HOST:PORT";

    /// <exception cref="ArgumentException">It is none.</exception>
    public static ServerAddress Parse(string? text)
    {
        text ??= "";
        (string scheme, string rest) = text.Split(':', 2) is [var before, var after] ? (before, after) : ("", "");
        return scheme.ToLowerInvariant() switch
        {
            "unix" or "unix-abstract" => Unix(text),
            _ when text.StartsWith('@') => Unix(text),
            "http" => Tcp(ServerAddressKind.Http, text, text),
            "https" => Tcp(ServerAddressKind.Https, text, text),
            "dns" when rest.StartsWith("///", StringComparison.Ordinal) => Tcp(ServerAddressKind.Dns, text, "http:" + rest[1..]),
            _ => throw new ArgumentException($"cannot use server address '{text}': {Expected}."),
        };
    }

    /// <summary>The kernel's name of a server's or client's Unix socket: <c>PATH</c> or <c>unix:PATH</c>, <c>@NAME</c>
    /// or <c>unix-abstract:NAME</c>.</summary>
    /// <returns>The path; or NUL and a name in the abstract namespace; null where it names none.</returns>
    public static string? SocketName(string address)
    {
        const StringComparison anyCase = StringComparison.OrdinalIgnoreCase;

        // An empty authority may stand before a path, as in any URI.
        string name = address.StartsWith('@') ? '\0' + address[1..]
            : address.StartsWith("unix-abstract:", anyCase) ? '\0' + address["unix-abstract:".Length..]
            : address.StartsWith("unix:///", anyCase) ? address["unix://".Length..]
            : address.StartsWith("unix:", anyCase) ? address["unix:".Length..]
            : address;
        return name is "" or "\0" || address.Contains('\0') ? null : name;
    }

    private static ServerAddress Unix(string text)
    {
        string name = SocketName(text) ?? throw new ArgumentException($"cannot use server address '{text}': it names no socket; {Expected}.");
        if (name.StartsWith('\0') && !HostPlatform.IsLinux)
            throw new ArgumentException($"cannot use server address '{text}': only Linux has sockets with a name and no path. Use unix:PATH.");
        try
        {
            return new ServerAddress(ServerAddressKind.Unix, text, new UnixDomainSocketEndPoint(name));
        }
        catch (ArgumentOutOfRangeException ex)
        {
            throw new ArgumentException($"cannot use server address '{text}': the name of a Unix socket has at most {(OperatingSystem.IsMacOS() ? 104 : 108)} bytes here. Use a shorter one.", ex);
        }
    }

    private static ServerAddress Tcp(ServerAddressKind kind, string text, string uri)
    {
        // A missing port would be 80 or 443, where no runner's server is; nothing may come behind it.
        if (!Uri.TryCreate(uri, UriKind.Absolute, out Uri? parsed) || parsed.Host.Length == 0 || parsed.PathAndQuery != "/" || parsed.UserInfo.Length > 0
            || !text.TrimEnd('/').EndsWith($":{parsed.Port}", StringComparison.Ordinal))
        {
            throw new ArgumentException($"cannot use server address '{text}': {Expected}, with a port and nothing behind it.");
        }

        return new ServerAddress(kind, text, null, parsed.Host, parsed.Port);
    }
}
