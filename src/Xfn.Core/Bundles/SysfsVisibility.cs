namespace Xfn.Core.Bundles;

/// <summary>Tells beforehand whether the kernel mounts a fresh sysfs for root of a user namespace: only if one is there already, whole and as writable.</summary>
/// <remarks>In a container or a pod, /sys is read-only or covered in part, and the fresh one is refused. Runtimes then bind the outer one, in silence.</remarks>
internal static class SysfsVisibility
{
    /// <summary>Directories that the kernel keeps empty for others to be mounted on; what lies there covers nothing.</summary>
    private static readonly string[] EmptyDirectories =
    [
        "/firmware/efi/efivars", "/fs/bpf", "/fs/cgroup", "/fs/fuse/connections", "/fs/pstore", "/fs/resctrl", "/fs/selinux", "/fs/smackfs",
        "/kernel/config", "/kernel/debug", "/kernel/security", "/kernel/tracing",
    ];

    /// <param name="mountInfo"><c>/proc/self/mountinfo</c>.</param>
    public static bool AllowsFresh(string mountInfo)
    {
        List<Entry> entries = [.. mountInfo.Split('\n').Select(Entry.Parse).OfType<Entry>()];
        return entries.Exists(e => e is { Type: "sysfs", Root: "/" } && e.Options.Contains("rw")
            // The new mount's access times are the kernel's default; a locked difference counts as less permissive.
            && e.Options.Contains("relatime")
            && entries.TrueForAll(child => child.Parent != e.Id || EmptyDirectories.Any(d => child.Point == e.Point + d)));
    }

    private sealed record Entry(string Id, string Parent, string Root, string Point, string[] Options, string Type)
    {
        // 36 35 98:0 /root /point rw,relatime shared:1 - type source options
        public static Entry? Parse(string line)
        {
            string[] fields = line.Split(' ');
            int separator = Array.IndexOf(fields, "-");
            return separator >= 6 && separator + 1 < fields.Length
                ? new Entry(fields[0], fields[1], fields[3], fields[4], fields[5].Split(','), fields[separator + 1])
                : null;
        }
    }
}
