using Xfn.Core.Interop;

namespace Xfn.Core.Bundles;

/// <summary>Tells whether a user namespace may mount sysfs: only if one is there, whole and as writable.</summary>
/// <remarks>In containers /sys is read-only or covered in part. Runtimes then bind the outer one, in silence.</remarks>
internal static class SysfsVisibility
{
    /// <summary>Directories that the kernel keeps empty for mounts; a mount there covers nothing.</summary>
    private static readonly string[] EmptyDirectories =
    [
        "/firmware/efi/efivars", "/fs/bpf", "/fs/cgroup", "/fs/fuse/connections", "/fs/pstore", "/fs/resctrl", "/fs/selinux", "/fs/smackfs",
        "/kernel/config", "/kernel/debug", "/kernel/security", "/kernel/tracing",
    ];

    /// <param name="mountInfo"><c>/proc/self/mountinfo</c>.</param>
    public static bool AllowsFresh(string mountInfo)
    {
        IReadOnlyList<MountEntry> mounts = MountTable.Parse(mountInfo.Split('\n'));
        return mounts.Any(m => m is { Type: "sysfs", Root: "/" } && m.Options.Contains("rw")
            // The new mount's access times are the kernel's default; a locked difference counts as less permissive.
            && m.Options.Contains("relatime")
            && mounts.All(child => child.Parent != m.Id || EmptyDirectories.Any(d => child.MountPoint == m.MountPoint + d)));
    }
}
