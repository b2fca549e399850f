using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Registry;

/// <summary>Who can reach an address, from everybody to nobody.</summary>
internal enum AddressClass
{
    Public,
    Private,
    Loopback,

    /// <summary>Nothing that a registry may send us to: cloud metadata, link-local, multicast, unspecified.</summary>
    Forbidden,
}

/// <summary>Tells addresses apart by who can reach them.</summary>
internal static class AddressClasses
{
    // The first that an address is in counts. One in none of them is public.
    private static readonly (AddressClass Class, IPNetwork[] Networks)[] Known =
    [
        // Metadata services of clouds that sit in otherwise harmless ranges.
        (AddressClass.Forbidden, Parse("fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32")),
        // With Teredo, whose addresses hold an IPv4 one that anybody may choose.
        (AddressClass.Forbidden, Parse("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/3", "2001::/32")),
        (AddressClass.Loopback, Parse("127.0.0.0/8", "::1/128")),
        (AddressClass.Private, Parse("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7", "fec0::/10", "64:ff9b:1::/48")),
        // Of IPv6 only 2000::/3 is given out.
        (AddressClass.Forbidden, Parse("::/3", "4000::/2", "8000::/1")),
    ];

    private static readonly IPNetwork Nat64 = IPNetwork.Parse("64:ff9b::/96");
    private static readonly IPNetwork SixToFour = IPNetwork.Parse("2002::/16");

    public static AddressClass Of(IPAddress address)
    {
        address = Embedded(address) ?? address;
        return Known.FirstOrDefault(known => known.Networks.Any(network => network.Contains(address)), (AddressClass.Public, [])).Class;
    }

    /// <summary>The class of a host that is an address or <c>localhost</c>; null for another name.</summary>
    public static AddressClass? OfLiteral(Uri uri) =>
        IPAddress.TryParse(uri.IdnHost.Trim('[', ']'), out IPAddress? address) ? Of(address)
        : uri.IdnHost.Equals("localhost", StringComparison.OrdinalIgnoreCase) || uri.IdnHost.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase) ? AddressClass.Loopback
        : null;

    /// <summary>The IPv4 address that an IPv6 one stands for: packets to the latter arrive at the former.</summary>
    public static IPAddress? Embedded(IPAddress address)
    {
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
            return null;
        byte[] bytes = address.GetAddressBytes();
        return address.IsIPv4MappedToIPv6 ? address.MapToIPv4()
            : Nat64.Contains(address) ? new IPAddress(bytes.AsSpan(12))
            : SixToFour.Contains(address) ? new IPAddress(bytes.AsSpan(2, 4))
            : null;
    }

    private static IPNetwork[] Parse(params string[] networks) => [.. networks.Select(IPNetwork.Parse)];
}
