using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>Where the kernel says what is mounted and which cgroups this process is in.</summary>
/// <remarks>https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html,
/// https://man7.org/linux/man-pages/man7/cgroups.7.html, "/proc/pid/cgroup".</remarks>
internal sealed record CgroupPaths(string MountInfo = "/proc/self/mountinfo", string SelfCgroup = "/proc/self/cgroup");

/// <summary>A mounted cgroup hierarchy, and this process's place in it.</summary>
/// <param name="IsV2">Whether it is of version 2.</param>
/// <param name="Controllers">Those of version 1; none for version 2, where they differ from cgroup to cgroup.</param>
/// <param name="MountPoint">Where it is mounted.</param>
/// <param name="OwnPath">This process's cgroup as the kernel names it.</param>
/// <param name="OwnDirectory">The directory of that; null if the mount does not show it, as in containers.</param>
internal sealed record CgroupMount(bool IsV2, IReadOnlyList<string> Controllers, string MountPoint, string OwnPath, string? OwnDirectory)
{
    public static IReadOnlyList<CgroupMount> ReadAll(CgroupPaths paths)
    {
        (string Controllers, string Path)[] memberships = [.. File.ReadLines(paths.SelfCgroup).Select(ParseMembership)];
        var mounts = new List<CgroupMount>();
        foreach (MountEntry mount in MountTable.Parse(File.ReadLines(paths.MountInfo)))
        {
            if (mount.Type is not ("cgroup" or "cgroup2"))
                continue;

            bool isV2 = mount.Type == "cgroup2";
            (string Controllers, string Path) own = Array.Find(
                memberships, m => isV2 ? m.Controllers.Length == 0 : m.Controllers.Split(',').All(c => c.Length > 0 && mount.SuperOptions.Contains(c)));
            if (own.Path is null)
                continue;

            string[] controllers = isV2 ? [] : own.Controllers.Split(',');
            mounts.Add(new CgroupMount(isV2, controllers, mount.MountPoint, own.Path, FindOwnDirectory(mount.MountPoint, mount.Root, own.Path)));
        }

        // The same hierarchy may be mounted more than once; the mount that shows this process's cgroup serves.
        return [.. mounts.OrderBy(m => m.OwnDirectory is null)];
    }

    // ID:CONTROLLERS:PATH, and the path may hold colons.
    private static (string Controllers, string Path) ParseMembership(string line)
    {
        string[] fields = line.Split(':', 3);
        return fields.Length == 3 ? (fields[1], fields[2]) : ("-", "/");
    }

    private static string? FindOwnDirectory(string mountPoint, string mountRoot, string ownPath)
    {
        // Without a cgroup namespace a container sees the host's path; its mount shows only what is below its root.
        string? below = mountRoot == "/" ? ownPath
            : ownPath == mountRoot ? "/"
            : ownPath.StartsWith(mountRoot + "/", StringComparison.Ordinal) ? ownPath[mountRoot.Length..]
            : null;
        if (below is null || below.Contains("/..", StringComparison.Ordinal))
            return null;
        string directory = below == "/" ? mountPoint : mountPoint + below;
        return Directory.Exists(directory) ? directory : null;
    }
}
