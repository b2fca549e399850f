using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Xfn.Core.Egress;

/// <summary>The messages of SOCKS 5 that the proxy understands: no authentication, and CONNECT.
/// <see href="https://www.rfc-editor.org/rfc/rfc1928">RFC 1928</see>.</summary>
internal static class EgressSocks
{
    public const byte Version = 5;

    public static ReadOnlyMemory<byte> NoAuthentication { get; } = new byte[] { Version, 0 };

    public static ReadOnlyMemory<byte> NoAcceptableMethod { get; } = new byte[] { Version, 0xFF };

    /// <summary>Reads the methods of authentication that a client offers.</summary>
    /// <param name="bytes">What was read so far, from the version on.</param>
    /// <param name="takesNone">Whether it offers to do without.</param>
    /// <returns>The length of the message; 0 for one that is not whole yet.</returns>
    public static int ReadMethods(ReadOnlySpan<byte> bytes, out bool takesNone)
    {
        takesNone = false;
        if (bytes.Length < 2 || bytes.Length < 2 + bytes[1])
            return 0;
        takesNone = bytes.Slice(2, bytes[1]).Contains((byte)0);
        return 2 + bytes[1];
    }

    /// <summary>Reads a request.</summary>
    /// <param name="bytes">What was read so far, from the version on.</param>
    /// <param name="target">Where to; null for a request that is refused.</param>
    /// <param name="refusal">Why it is.</param>
    /// <returns>The length of the message; 0 for one that is neither whole nor refused yet.</returns>
    public static int ReadRequest(ReadOnlySpan<byte> bytes, out EgressTarget? target, out EgressRefusal? refusal)
    {
        (target, refusal) = (null, null);
        if (bytes.Length < 5)
            return 0;
        if (bytes[0] != Version || bytes[2] != 0)
            return Refused(EgressRefusalKind.Malformed, "it is not SOCKS 5", out refusal);
        if (bytes[1] != 1)
            return Refused(EgressRefusalKind.UnknownCommand, "its command is not CONNECT", out refusal);
        int hostBytes = bytes[3] switch { 1 => 4, 3 => 1 + bytes[4], 4 => 16, _ => -1 };
        if (hostBytes < 0)
            return Refused(EgressRefusalKind.UnknownAddress, "its kind of address is unknown", out refusal);
        int length = 4 + hostBytes + 2;
        if (bytes.Length < length)
            return 0;

        ReadOnlySpan<byte> host = bytes.Slice(4, hostBytes);
        int port = BinaryPrimitives.ReadUInt16BigEndian(bytes[(length - 2)..]);
        string found = "its port is 0";
        if (port > 0)
            target = bytes[3] == 3 ? Named(Encoding.Latin1.GetString(host[1..]), port, out found) : EgressTarget.Of(new IPAddress(host), port);
        return target is null ? Refused(EgressRefusalKind.Malformed, found, out refusal) : length;
    }

    /// <summary>The answer to a request: 0 for done, or <see cref="EgressRefusal.Reply"/>. The address that the proxy
    /// connected from is not told.</summary>
    public static ReadOnlyMemory<byte> Reply(byte reply) => new byte[] { Version, reply, 0, 1, 0, 0, 0, 0, 0, 0 };

    /// <summary>A name; some clients send an address in its place, and IPv6 without brackets.</summary>
    private static EgressTarget? Named(string host, int port, out string found) =>
        EgressTarget.TryParseHost(host.Contains(':', StringComparison.Ordinal) && !host.StartsWith('[') ? $"[{host}]" : host, port, out found);

    private static int Refused(EgressRefusalKind kind, string found, out EgressRefusal refusal)
    {
        refusal = new EgressRefusal(kind, $"cannot read a request to the proxy: {found}.");
        return 0;
    }
}
