using System.Globalization;

namespace Xfn.Core.Interop;

/// <summary>The capabilities that this process holds.</summary>
/// <remarks><see href="https://man7.org/linux/man-pages/man7/capabilities.7.html">capabilities(7)</see>.</remarks>
internal static class Capabilities
{
    private const int CapSetGid = 6;
    private const int CapSetUid = 7;
    private const int CapSysResource = 24;

    public static bool HasSetUid => Effective(CapSetUid);

    public static bool HasSetGid => Effective(CapSetGid);

    /// <summary>Whether it may give what the kernel gives to the machine's administrator only; looked up once.</summary>
    public static bool HasSysResource { get; } = Effective(CapSysResource);

    private static bool Effective(int capability)
    {
        const string field = "CapEff:";
        string? line = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith(field, StringComparison.Ordinal));
        return line is not null && ((ulong.Parse(line.AsSpan(field.Length).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) >> capability) & 1) != 0;
    }
}
