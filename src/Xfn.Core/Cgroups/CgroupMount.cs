using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>Where the kernel says what is mounted and which cgroups this process is in.</summary>
internal sealed record CgroupPaths
{
    /// <summary>https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html</summary>
    public string MountInfo { get; init; } = "/proc/self/mountinfo";

    /// <summary>https://man7.org/linux/man-pages/man7/cgroups.7.html, "/proc/pid/cgroup".</summary>
    public string SelfCgroup { get; init; } = "/proc/self/cgroup";
}

/// <summary>A mounted cgroup hierarchy, and this process's place in it.</summary>
internal sealed record CgroupMount
{
    public required bool IsV2 { get; init; }

    /// <summary>The controllers of version 1; empty for version 2, where they differ from cgroup to cgroup.</summary>
    public required IReadOnlyList<string> Controllers { get; init; }

    public required string MountPoint { get; init; }

    /// <summary>This process's cgroup as the kernel names it.</summary>
    public required string OwnPath { get; init; }

    /// <summary>The directory of <see cref="OwnPath"/>; null if the mount does not show it, as in containers.</summary>
    public required string? OwnDirectory { get; init; }

    /// <summary>Finds what is mounted here.</summary>
    public static IReadOnlyList<CgroupMount> ReadAll(CgroupPaths paths)
    {
        (string Controllers, string Path)[] memberships = [.. File.ReadLines(paths.SelfCgroup).Select(ParseMembership)];
        var mounts = new List<CgroupMount>();
        foreach (Mount mount in MountTable.Parse(File.ReadLines(paths.MountInfo)))
        {
            if (mount.Type is not ("cgroup" or "cgroup2"))
                continue;

            bool isV2 = mount.Type == "cgroup2";
            (string Controllers, string Path) own = Array.Find(
                memberships, m => isV2 ? m.Controllers.Length == 0 : m.Controllers.Split(',').All(c => c.Length > 0 && mount.SuperOptions.Contains(c)));
            if (own.Path is null)
                continue;

            mounts.Add(new CgroupMount
            {
                IsV2 = isV2,
                Controllers = isV2 ? [] : own.Controllers.Split(','),
                MountPoint = mount.MountPoint,
                OwnPath = own.Path,
                OwnDirectory = FindOwnDirectory(mount.MountPoint, mount.Root, own.Path),
            });
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
