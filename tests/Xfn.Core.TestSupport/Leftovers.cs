using System.Diagnostics;

namespace Xfn.Core.TestSupport;

/// <summary>What could be left of a run on this machine.</summary>
internal sealed record Leftovers(HashSet<string> Processes, HashSet<string> Mounts, int Descriptors)
{
    /// <summary>How many descriptors the runtime may open as it goes.</summary>
    private const int Spare = 8;

    public static Leftovers Take() => new([.. Descendants()], [.. File.ReadLines("/proc/self/mountinfo").Where(IsOnesOwn)], Directory.GetFiles("/proc/self/fd").Count(IsOurKind));

    /// <summary>Compares with now, and waits for what is just going: how long, the machine's load decides.</summary>
    public void AssertNothingNew()
    {
        Leftovers now = Take();
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromSeconds(30) && !IsWithin(now); Thread.Sleep(20 * LongMode.Slowness))
            now = Take();

        Assert.Multiple(() =>
        {
            Assert.That(now.Processes.Except(Processes), Is.Empty, "processes left");
            Assert.That(now.Mounts.Except(Mounts), Is.Empty, "mounts left");
            Assert.That(now.Descriptors, Is.LessThanOrEqualTo(Descriptors + Spare), "descriptors left");
        });
    }

    private bool IsWithin(Leftovers now) => !now.Processes.Except(Processes).Any() && !now.Mounts.Except(Mounts).Any() && now.Descriptors <= Descriptors + Spare;

    /// <summary>Whether a mount is of this program's directories: others may mount at the same time.</summary>
    private static bool IsOnesOwn(string mount) => mount.Contains(TemporaryDirectory.Prefix, StringComparison.Ordinal);

    /// <summary>Whether a descriptor is a runner's kind, not an assembly's or the test framework's.</summary>
    private static bool IsOurKind(string descriptor) => new FileInfo(descriptor).LinkTarget is { } target && (!target.StartsWith('/') || target.Contains("xfn-test"));

    /// <summary>All processes that descend from this one.</summary>
    private static IEnumerable<string> Descendants()
    {
        if (HasNoChild())
            return [];
        var parents = new Dictionary<int, (int Parent, string Name)>();
        foreach (string directory in Directory.GetDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), out int pid))
                continue;
            try
            {
                string stat = File.ReadAllText(Path.Combine(directory, "stat"));
                int close = stat.LastIndexOf(')');
                parents[pid] = (int.Parse(stat[(close + 4)..].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture), stat[..(close + 1)]);
            }
            catch (IOException)
            {
                // It has just ended.
            }
        }

        return parents.Keys.Where(pid => IsOurs(pid, parents)).Select(pid => parents[pid].Name);
    }

    /// <summary>Whether the kernel says of each thread of this program that it has no child. It takes a tenth of the time of
    /// a look at all processes. Of a thread that ends meanwhile another may have taken the children.</summary>
    private static bool HasNoChild()
    {
        try
        {
            return Directory.GetDirectories("/proc/self/task").All(thread => File.ReadAllText(Path.Combine(thread, "children")).Length == 0);
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static bool IsOurs(int pid, Dictionary<int, (int Parent, string Name)> parents)
    {
        for (int p = parents[pid].Parent; p > 1 && parents.TryGetValue(p, out (int Parent, string Name) next); p = next.Parent)
        {
            if (p == Environment.ProcessId)
                return true;
        }

        return false;
    }
}
