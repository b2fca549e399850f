namespace Xfn.Core.Spark.Containers;

/// <summary>What a container sees at /sys/fs/cgroup. Run-times size themselves by what they read there.</summary>
/// <remarks>Where version 1 has the memory or processor controller, alone or beside version 2, version 2 shows no limits: the
/// container gets version 1's hierarchies then, each at the place where programs look for it. In a cgroup namespace all of
/// them show the run's own cgroup as their root. <see href="https://man7.org/linux/man-pages/man7/cgroups.7.html">cgroups(7)</see>.</remarks>
internal static class CgroupMounts
{
    private const string Version2 = "cgroup2";
    private const string Version1 = "cgroup";

    private static readonly string[] Shown = ["memory", "cpu", "cpuacct", "cpuset", "pids"];

    /// <summary>Puts version 1's mounts in the place of version 2's, where they say more.</summary>
    public static IEnumerable<SparkMount> Adapt(IReadOnlyList<SparkMount> mounts) =>
        mounts.Any(mount => mount.Type == Version2) && Hierarchies(File.ReadLines("/proc/self/cgroup")) is { Count: > 0 } hierarchies
            ? mounts.SelectMany(mount => mount.Type == Version2 ? InPlaceOf(mount, hierarchies) : [mount])
            : mounts;

    /// <summary>The hierarchies of version 1 that are to be seen, by their controllers; none where version 2 has what limits are made of.</summary>
    /// <param name="lines">Of /proc/PID/cgroup: <c>NUMBER:CONTROLLER[,CONTROLLER…]:PATH</c>.</param>
    private static List<string> Hierarchies(IEnumerable<string> lines)
    {
        List<string> hierarchies = [.. lines.Select(line => line.Split(':', 3)).Where(fields => fields.Length == 3)
            .Select(fields => fields[1]).Where(controllers => controllers.Split(',').Intersect(Shown).Any())];
        return hierarchies.Exists(controllers => controllers.Split(',').Any(name => name is "memory" or "cpu")) ? hierarchies : [];
    }

    private static IEnumerable<SparkMount> InPlaceOf(SparkMount mount, List<string> hierarchies)
    {
        yield return mount with { Type = "tmpfs", Source = "tmpfs", Data = "mode=755,size=64k,nr_inodes=64" };
        foreach (string controllers in hierarchies)
            yield return mount with { Destination = $"{mount.Destination}/{controllers}", Type = Version1, Source = Version1, Data = controllers };
    }
}
