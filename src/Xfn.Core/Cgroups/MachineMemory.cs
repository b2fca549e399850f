using System.Globalization;

namespace Xfn.Core.Cgroups;

/// <summary>The memory for this process and its children: the machine's, or what its cgroups leave of that.</summary>
internal static class MachineMemory
{
    public static long Find(CgroupPaths? paths = null)
    {
        long bytes = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        try
        {
            // .NET's own figure is a smaller one where its heap has a limit.
            string total = File.ReadLines("/proc/meminfo").First(line => line.StartsWith("MemTotal:", StringComparison.Ordinal));
            bytes = long.Parse(total.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) << 10;
            foreach (CgroupMount mount in CgroupMount.ReadAll(paths ?? new CgroupPaths()))
            {
                if (mount is { OwnDirectory: { } own } && (mount.IsV2 || mount.Controllers.Contains("memory")))
                    bytes = Math.Min(bytes, LimitOf(own, mount));
            }
        }
        catch (Exception e) when (CgroupFile.IsFileError(e))
        {
            // Without /proc nothing runs anyway, which is told elsewhere.
        }

        return bytes;
    }

    private static long LimitOf(string own, CgroupMount mount)
    {
        long least = long.MaxValue;
        for (string? directory = own; directory is not null && directory.StartsWith(mount.MountPoint, StringComparison.Ordinal); directory = Path.GetDirectoryName(directory))
            least = Math.Min(least, CgroupFile.ReadNumber(directory, mount.IsV2 ? "memory.max" : "memory.limit_in_bytes") ?? long.MaxValue);
        return least;
    }
}
