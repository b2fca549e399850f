using System.Globalization;

namespace Xfn.Core.Interop;

/// <summary>What <c>/proc/self/status</c> says about this process's rights.</summary>
/// <remarks>https://man7.org/linux/man-pages/man5/proc_pid_status.5.html</remarks>
/// <param name="EffectiveCapabilities">The effective set, a bit for each capability.</param>
/// <param name="IsRoot">Whether the effective user id is 0 in this process's user namespace.</param>
/// <param name="IsFiltered">Whether a seccomp filter holds for this process, as in most containers.</param>
/// <param name="NoNewPrivileges">Whether it can get no rights by executing a program, setuid or not.</param>
internal sealed record ProcessStatus(ulong EffectiveCapabilities, bool IsRoot, bool IsFiltered, bool NoNewPrivileges)
{
    private const int CapSetGid = 6;
    private const int CapSetUid = 7;
    private const int CapSysAdmin = 21;
    private const int CapSysResource = 24;
    private const int CapSetFCap = 31;

    public bool HasSetUid => Has(CapSetUid);

    public bool HasSetGid => Has(CapSetGid);

    /// <summary>Whether it may give what the kernel gives to the machine's administrator only.</summary>
    public bool HasSysResource => Has(CapSysResource);

    public bool CanMapIds => HasSetUid && HasSetGid;

    public bool CanSetFileCapabilities => Has(CapSetFCap);

    public bool IsAdministrator => Has(CapSysAdmin);

    public static ProcessStatus Read(SystemFiles? files = null)
    {
        Dictionary<string, string> fields = (files ?? new SystemFiles()).ReadLines("/proc/self/status")
            .Select(line => line.Split(':', 2)).Where(f => f.Length == 2).ToDictionary(f => f[0], f => f[1].Trim());
        return new ProcessStatus(
            EffectiveCapabilities: ulong.TryParse(fields.GetValueOrDefault("CapEff"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong set) ? set : 0,
            IsRoot: fields.GetValueOrDefault("Uid")?.Split('\t') is [_, "0", ..],
            IsFiltered: fields.GetValueOrDefault("Seccomp") == "2",
            NoNewPrivileges: fields.GetValueOrDefault("NoNewPrivs") == "1");
    }

    private bool Has(int capability) => (EffectiveCapabilities >> capability & 1) == 1;
}
