using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

internal static class CgroupRemoval
{
    /// <summary>How many processes are killed at a time: each takes a descriptor.</summary>
    private const int Together = 64;

    /// <summary>Sends SIGKILL to every process of a cgroup of any version. A cgroup that is gone is no error.</summary>
    public static void Kill(string directory)
    {
        try
        {
            // Since Linux 5.14, and sure: what forks meanwhile is killed too.
            if (File.Exists($"{directory}/cgroup.kill"))
            {
                CgroupFile.Write(directory, "cgroup.kill", 1);
                return;
            }

            // Else a fork bomb could make processes as fast as they are killed. SIGKILL ends frozen ones too.
            if (File.Exists($"{directory}/cgroup.freeze"))
                CgroupFile.Write(directory, "cgroup.freeze", 1);
            if (File.Exists($"{directory}/pids.max"))
                CgroupFile.Write(directory, "pids.max", 0);
            // 0 stands for a process that this PID namespace does not see.
            foreach (int[] processes in CgroupFile.ReadProcesses(directory).Where(id => id > 0).Chunk(Together))
                Kill(directory, processes);
        }
        catch (Exception e) when (CgroupFile.IsGone(e))
        {
            // Removed meanwhile.
        }
    }

    /// <summary>Kills processes that are in a cgroup. It holds each before it looks, since ids are reused.</summary>
    private static void Kill(string directory, int[] processes)
    {
        var held = new Dictionary<int, SafeFileHandle>(processes.Length);
        try
        {
            foreach (int id in processes)
            {
                if (Posix.TryOpenProcess(id) is { } process)
                    held.Add(id, process);
            }

            foreach (int id in CgroupFile.ReadProcesses(directory))
            {
                if (held.TryGetValue(id, out SafeFileHandle? process))
                    Posix.Signal(process, Posix.SigKill);
            }
        }
        finally
        {
            foreach (SafeFileHandle process in held.Values)
                process.Dispose();
        }
    }

    /// <summary>Removes a cgroup; false when there are processes in it yet.</summary>
    public static bool TryRemove(string directory)
    {
        try
        {
            Directory.Delete(directory);
            return true;
        }
        catch (DirectoryNotFoundException)
        {
            return true;
        }
        catch (Exception e) when (CgroupFile.IsFileError(e))
        {
            return false;
        }
    }

    /// <summary>Kills what is in cgroups, and removes them: those in some directories whose names start so.</summary>
    /// <returns>How many were removed, and how many could not be.</returns>
    public static async Task<(int Removed, int Left)> RemoveAllAsync(IEnumerable<string> baseDirectories, string prefix)
    {
        int removed = 0;
        int left = 0;

        // A base itself may have been removed, as systemd does when a unit ends.
        foreach (string directory in baseDirectories.Where(Directory.Exists).SelectMany(directory => Directory.GetDirectories(directory, prefix + "*")))
        {
            bool done = TryRemove(directory);
            for (int attempt = 0; !done && attempt < 50; attempt++)
            {
                Kill(directory);
                await Task.Delay(10).ConfigureAwait(false);
                done = TryRemove(directory);
            }

            removed += done ? 1 : 0;
            left += done ? 0 : 1;
        }

        return (removed, left);
    }
}
