using System.Globalization;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>How many there are of what a run could leave: of this process, and in a cache directory.</summary>
internal sealed record Census(int Processes, int Mounts, int Descriptors, int Threads, int Cgroups, int Keys, int Files, long ManagedBytes, long ResidentBytes)
{
    public static Census Take(string cache) => new(
        Leftovers.Take().Processes.Count,
        File.ReadLines("/proc/self/mountinfo").Count(mount => mount.Contains(cache, StringComparison.Ordinal)),
        Leftovers.Take().Descriptors,
        Directory.GetDirectories("/proc/self/task").Length,
        CountCgroups(CgroupOwners(cache)),
        CountKeys(),
        Directory.Exists(cache) ? Directory.EnumerateFileSystemEntries(cache, "*", Enumeration).Count() : 0,
        GC.GetTotalMemory(forceFullCollection: true),
        long.Parse(File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal))[6..^3].Trim(), CultureInfo.InvariantCulture) << 10);

    /// <summary>What belongs to mapped ids cannot be looked into by every user; a layer's own directory can.</summary>
    private static EnumerationOptions Enumeration => new() { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = 0, MaxRecursionDepth = 5 };

    /// <summary>Those in users' quotas, by lines of <c>UID: USAGE KEYS/INSTANTIATED OWN/MOST …</c>.</summary>
    private static int CountKeys() => File.ReadLines("/proc/key-users")
        .Sum(line => int.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2].Split('/')[0], CultureInfo.InvariantCulture));

    /// <summary>The tokens of a cache's owners of cgroups, by the names of their files.</summary>
    public static string[] CgroupOwners(string cache) => Path.Combine(cache, "cgroups") is var state && Directory.Exists(state)
        ? [.. Directory.GetFiles(state, "cgroups-*").Select(f => Path.GetFileName(f)["cgroups-".Length..])] : [];

    /// <summary>How many cgroups some owners have.</summary>
    public static int CountCgroups(string[] owners) =>
        owners.Length == 0 ? 0 : Directory.EnumerateDirectories("/sys/fs/cgroup", "xfn-*", Enumeration).Count(d => owners.Any(d.Contains));
}
