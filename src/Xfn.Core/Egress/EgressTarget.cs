using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Egress;

/// <summary>A host, by name or by number, and a port.</summary>
/// <param name="Name">The name in small letters, without a dot at its end; empty for an address.</param>
/// <param name="Address">The address; null for a name. IPv4 in the form of IPv6 is IPv4.</param>
/// <param name="Port">1 to 65535.</param>
internal sealed record EgressTarget(string Name, IPAddress? Address, int Port)
{
    private const int MaxName = 253;
    private const int MaxLabel = 63;
    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdefABCDEF");
    private static readonly SearchValues<char> Ipv6Characters = SearchValues.Create("0123456789abcdefABCDEF:.");

    public static EgressTarget Of(IPAddress address, int port) => new("", address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address, port);

    /// <summary>Reads <c>NAME:PORT</c>, <c>192.0.2.1:PORT</c> or <c>[2001:db8::1]:PORT</c>.</summary>
    /// <param name="text">The text.</param>
    /// <param name="defaultPort">The port of a text without one; 0 where it needs one.</param>
    /// <param name="found">Otherwise: what was found, as a clause.</param>
    public static EgressTarget? TryParse(ReadOnlySpan<char> text, int defaultPort, out string found)
    {
        int port = defaultPort;
        int colon = text.LastIndexOf(':');
        if (colon >= 0 && text.IndexOf(']') < colon)
        {
            // No sign, no blank, no zero in front, as another reader might take those otherwise.
            ReadOnlySpan<char> digits = text[(colon + 1)..];
            if (digits.Length is 0 or > 5 || digits[0] == '0' || !int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out port) || port > ushort.MaxValue)
            {
                found = "its port is not a number from 1 to 65535";
                return null;
            }

            text = text[..colon];
        }

        found = port == 0 ? "it has no port" : "";
        return port == 0 ? null : TryParseHost(text, port, out found);
    }

    /// <summary>Reads a name, an IPv4 address, or an IPv6 address in brackets.</summary>
    public static EgressTarget? TryParseHost(ReadOnlySpan<char> host, int port, out string found)
    {
        found = "";
        if (host is ['[', .. var inner, ']'])
        {
            if (inner.IndexOfAnyExcept(Ipv6Characters) < 0 && IPAddress.TryParse(inner, out IPAddress? six) && six.AddressFamily == AddressFamily.InterNetworkV6)
                return Of(six, port);
            found = "what is in brackets is no IPv6 address";
            return null;
        }

        if (host.Length > 1 && host[^1] == '.')
            host = host[..^1];
        if (IPAddress.TryParse(host, out IPAddress? four) && four.AddressFamily == AddressFamily.InterNetwork && host.SequenceEqual(four.ToString()))
            return Of(four, port);
        if (!IsName(host))
        {
            found = "its host is neither a name of ASCII letters, digits, hyphens and dots, nor an IPv4 address of four decimal numbers, nor an IPv6 address in brackets";
            return null;
        }

        return new EgressTarget(host.ToString().ToLowerInvariant(), null, port);
    }

    /// <inheritdoc/>
    public override string ToString() => Address is null ? $"{Name}:{Port}" : new IPEndPoint(Address, Port).ToString();

    private static bool IsName(ReadOnlySpan<char> name)
    {
        if (name.Length is 0 or > MaxName)
            return false;
        ReadOnlySpan<char> last = [];
        foreach (Range range in name.Split('.'))
        {
            last = name[range];
            if (last.Length is 0 or > MaxLabel || last[0] == '-' || last[^1] == '-')
                return false;
            foreach (char c in last)
            {
                if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_'))
                    return false;
            }
        }

        // The C library takes 127.1, 0x7f.1 and 2130706433 for addresses; so no name ends in a number.
        return last.IndexOfAnyExceptInRange('0', '9') >= 0 && !(last.StartsWith("0x", StringComparison.OrdinalIgnoreCase) && last[2..].IndexOfAnyExcept(HexDigits) < 0);
    }
}
