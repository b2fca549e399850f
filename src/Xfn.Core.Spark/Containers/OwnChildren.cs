using System.Globalization;

namespace Xfn.Core.Spark.Containers;

/// <summary>The children of this process's only thread that makes any.</summary>
internal static class OwnChildren
{
    private const string Field = "NSpid:";

    /// <summary>Their process ids, as this process has them; none where the kernel does not list children.</summary>
    public static IReadOnlyList<int> Read()
    {
        const string list = "/proc/thread-self/children";

        // /proc may be another PID namespace's. It knows a process's ids in all namespaces from its own one on.
        int depth = IdsOf("thread-self").Length - 1;
        return depth < 0 || !File.Exists(list) ? [] : [.. File.ReadAllText(list).Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(IdsOf).Where(ids => ids.Length > depth).Select(ids => int.Parse(ids[depth], CultureInfo.InvariantCulture))];
    }

    private static string[] IdsOf(string process)
    {
        try
        {
            return File.ReadLines($"/proc/{process}/status").First(line => line.StartsWith(Field, StringComparison.Ordinal))[Field.Length..].Split('\t', StringSplitOptions.RemoveEmptyEntries);
        }
        catch (IOException)
        {
            // It has ended meanwhile.
            return [];
        }
    }
}
