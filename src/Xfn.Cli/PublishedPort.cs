using System.CommandLine.Parsing;
using System.Globalization;
using System.Net;

namespace Xfn.Cli;

/// <summary>A port of this machine's loopback that leads into a container, in docker's words: <c>8080:80</c>,
/// <c>127.0.0.1:8080:80</c>, or <c>80</c> for a port that is free.</summary>
/// <param name="HostPort">The machine's; 0 for one that is free.</param>
/// <param name="Port">The container's.</param>
internal readonly record struct PublishedPort(int HostPort, int Port)
{
    public const string Grammar = "[127.0.0.1:][HOSTPORT:]PORT";

    public static PublishedPort[] Parse(ArgumentResult result) => [.. result.Tokens.Select(token => Parse(result, token.Value))];

    private static PublishedPort Parse(ArgumentResult result, string text)
    {
        string[] protocol = text.Split('/');
        (string? rest, string port) = SplitLast(protocol[0]);
        (string? address, string hostPort) = rest is null ? (null, "") : SplitLast(rest);
        if (protocol.Length > 1 && protocol[1] != "tcp")
            return Refuse("only TCP is forwarded. Leave the protocol out");
        if (!TryParse(port, out int there) || there == 0 || !TryParse(hostPort.Length == 0 ? "0" : hostPort, out int here))
            return Refuse($"expected {Grammar}, with ports from 1 to {IPEndPoint.MaxPort}. Write it like 8080:80, or 80");
        return address is null or "127.0.0.1" or "localhost"
            ? new PublishedPort(here, there)
            : Refuse($"'{address}' is not 127.0.0.1, and no other address of this machine is forwarded. Leave it out; what shall be reached from elsewhere needs a server in front");

        PublishedPort Refuse(string found)
        {
            result.AddError($"cannot forward port '{text}': {found}.");
            return default;
        }
    }

    /// <summary>What stands before the last colon, null for none, and behind it. Addresses may have colons.</summary>
    private static (string? Before, string Behind) SplitLast(string text) =>
        text.LastIndexOf(':') is >= 0 and var colon ? (text[..colon], text[(colon + 1)..]) : (null, text);

    private static bool TryParse(string text, out int port) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port <= IPEndPoint.MaxPort;
}
