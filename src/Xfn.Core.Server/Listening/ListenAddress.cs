using System.Net;
using System.Net.Sockets;
using System.Text;
using Xfn.Core.Remote;

namespace Xfn.Core.Server;

/// <summary>Where a server listens; in text as users write it: a path, <c>@NAME</c>, or <c>HOST:PORT</c>.</summary>
internal sealed record ListenAddress(EndPoint EndPoint, string Text)
{
    /// <summary>What the kernel takes for the name of a socket, the final zero of a path included.</summary>
    private const int LongestName = 108;

    /// <summary>The path of the socket's file; null for an abstract name, and for TCP.</summary>
    public string? SocketFile => EndPoint is UnixDomainSocketEndPoint && Text[0] != '@' ? Text : null;

    public bool IsUnix => EndPoint is UnixDomainSocketEndPoint;

    /// <summary>Whether only this machine can reach it.</summary>
    public bool IsLocal => EndPoint is not IPEndPoint tcp || IPAddress.IsLoopback(tcp.Address);

    /// <exception cref="ArgumentException">It is no address.</exception>
    public static ListenAddress Parse(string network, string address)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentException.ThrowIfNullOrEmpty(address);
        return network switch
        {
            "unix" => ParseUnix(address),
            "tcp" => new ListenAddress(ParseTcp(address), address),
            _ => throw new ArgumentException($"cannot listen on network '{network}': expected unix or tcp.", nameof(network)),
        };
    }

    private static ListenAddress ParseUnix(string address)
    {
        string name = ServerAddress.SocketName(address)
            ?? throw new ArgumentException($"cannot listen on '{address.Replace('\0', '?')}': expected a path, or '@' and a name.", nameof(address));
        bool isAbstract = name[0] == '\0';
        name = isAbstract ? name : Path.GetFullPath(name);
        int length = Encoding.UTF8.GetByteCount(name);
        return length + (isAbstract ? 0 : 1) <= LongestName
            ? new ListenAddress(new UnixDomainSocketEndPoint(name), isAbstract ? '@' + name[1..] : name)
            : throw new ArgumentException($"cannot listen on '{address}': the name has {length} bytes, and {LongestName - 1} is the most. Use a shorter one.", nameof(address));
    }

    private static IPEndPoint ParseTcp(string address)
    {
        int colon = address.LastIndexOf(':');
        string host = colon < 0 ? address : address[..colon];
        if (colon >= 0 && ushort.TryParse(address.AsSpan(colon + 1), System.Globalization.NumberStyles.None, null, out ushort port))
        {
            if (host is "" or "*")
                return new IPEndPoint(Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any, port);
            if (host == "localhost")
                return new IPEndPoint(IPAddress.Loopback, port);
            if (host.Contains(':') == host.StartsWith('[') && IPAddress.TryParse(host, out IPAddress? ip))
                return new IPEndPoint(ip, port);
        }

        throw new ArgumentException($"cannot listen on '{address}': expected HOST:PORT, with an IP address, localhost, or nothing for all addresses as the host.", nameof(address));
    }
}
