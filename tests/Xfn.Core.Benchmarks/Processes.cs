using System.Globalization;

namespace Xfn.Core.Benchmarks;

/// <summary>What /proc says of processes.</summary>
internal static class Processes
{
    public static IEnumerable<int> Children(int parent)
    {
        try
        {
            return
            [
                .. Directory.GetDirectories($"/proc/{parent}/task")
                    .SelectMany(task => File.ReadAllText(Path.Combine(task, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
                    .Select(id => int.Parse(id, CultureInfo.InvariantCulture)),
            ];
        }
        catch (IOException)
        {
            // It, or a thread of it, has just ended.
            return [];
        }
    }

    /// <summary>Children, their children, and so on.</summary>
    public static IEnumerable<int> Below(int parent) => Children(parent).SelectMany(child => (IEnumerable<int>)[child, .. Below(child)]);

    /// <summary>Whether a process is one of busybox's, as the functions here are.</summary>
    public static bool IsBusybox(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/comm") == "busybox\n";
        }
        catch (IOException)
        {
            return false;
        }
    }

    public static double ProcessorMilliseconds(int process) => long.Parse(File.ReadAllText($"/proc/{process}/schedstat").Split(' ')[0], CultureInfo.InvariantCulture) / 1e6;

    /// <summary>Its memory, with its share of what it has in common with others.</summary>
    public static double ProportionalMiB(int process) =>
        long.Parse(File.ReadLines($"/proc/{process}/smaps_rollup").First(l => l.StartsWith("Pss:", StringComparison.Ordinal))["Pss:".Length..^"kB".Length].Trim(), CultureInfo.InvariantCulture) / 1024.0;
}
