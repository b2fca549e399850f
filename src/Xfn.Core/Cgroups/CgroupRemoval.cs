namespace Xfn.Core.Cgroups;

/// <summary>How a cgroup ends.</summary>
internal static class CgroupRemoval
{
    /// <summary>Sends SIGKILL to every process of a cgroup, of either version. That it is gone already is no error.</summary>
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

            // Else a fork bomb could make processes as fast as they are killed. What is frozen dies of SIGKILL all the same.
            if (File.Exists($"{directory}/cgroup.freeze"))
                CgroupFile.Write(directory, "cgroup.freeze", 1);
            if (File.Exists($"{directory}/pids.max"))
                CgroupFile.Write(directory, "pids.max", 0);
            foreach (int process in CgroupFile.ReadProcesses(directory))
            {
                // 0 stands for a process that this PID namespace does not see, and killed it would be this one's group.
                if (process > 0)
                    Posix.Kill(process, Posix.SigKill);
            }
        }
        catch (Exception e) when (CgroupFile.IsGone(e))
        {
            // Removed meanwhile.
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

    /// <summary>Kills and removes the cgroups in a directory whose names start so.</summary>
    /// <returns>How many were removed, and how many could not be.</returns>
    public static async Task<(int Removed, int Left)> RemoveAllAsync(string baseDirectory, string prefix)
    {
        int removed = 0;
        int left = 0;
        // The base itself may have been removed, as systemd does when a unit ends.
        foreach (string directory in Directory.Exists(baseDirectory) ? Directory.GetDirectories(baseDirectory, prefix + "*") : [])
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
