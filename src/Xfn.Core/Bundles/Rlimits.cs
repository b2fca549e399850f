using System.Globalization;

namespace Xfn.Core.Bundles;

/// <summary>The limits of setrlimit(2) that the default bundles have.</summary>
internal static class Rlimits
{
    /// <summary>Whether the limit of processes is for one run: before Linux 5.14 it is for all of a user's.</summary>
    public static bool CountsProcessesByNamespace => OperatingSystem.IsLinux() && Environment.OSVersion.Version >= new Version(5, 14);

    /// <summary>The limits of every function, none above what this process may itself have: without privileges on the
    /// machine a hard limit cannot be raised, and the runtime would fail.</summary>
    /// <param name="hardLimits">From <see cref="ReadHardLimits"/>.</param>
    /// <param name="processes">How many processes and threads; null to leave that limit out.</param>
    public static IReadOnlyList<Rlimit> All(IReadOnlyDictionary<string, ulong> hardLimits, int? processes)
    {
        var limits = new List<Rlimit>
        {
            Limit("RLIMIT_NOFILE", 1024),
            // Not 0: a core_pattern that is a pipe runs its program on the machine whatever the limit, except for 1.
            Limit("RLIMIT_CORE", 1),
            // Above the 2 GiB that .NET reserves in a memory file for its code.
            Limit("RLIMIT_FSIZE", 4UL << 30),
            Limit("RLIMIT_MEMLOCK", 64 << 10),
            Limit("RLIMIT_MSGQUEUE", 0),
            // Timers too. The runner's user shares the count and needs some: libc changes threads' ids by signals.
            Limit("RLIMIT_SIGPENDING", 512),
            Limit("RLIMIT_RTPRIO", 0),
            Limit("RLIMIT_NICE", 0),
            Limit("RLIMIT_STACK", 8 << 20, 64 << 20),
        };
        if (processes is { } count)
            limits.Add(Limit("RLIMIT_NPROC", (ulong)count));
        return limits;

        Rlimit Limit(string type, ulong soft, ulong? hard = null)
        {
            ulong most = Math.Min(hard ?? soft, hardLimits.GetValueOrDefault(type, ulong.MaxValue));
            return new Rlimit(type, Math.Min(soft, most), most);
        }
    }

    /// <summary>The hard limits of this process, or of whichever's <c>/proc/PID/limits</c> is given.</summary>
    public static IReadOnlyDictionary<string, ulong> ReadHardLimits(string limits)
    {
        var found = new Dictionary<string, ulong>();
        foreach (string line in limits.Split('\n'))
        {
            // Columns of fixed width: Limit (26), Soft Limit (21), Hard Limit (21), Units.
            if (line.Length < 48 || !Types.TryGetValue(line[..26].TrimEnd(), out string? type))
                continue;
            string hard = line[47..Math.Min(68, line.Length)].Trim();
            if (ulong.TryParse(hard, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value))
                found[type] = value;
        }
        return found;
    }

    private static readonly Dictionary<string, string> Types = new()
    {
        ["Max open files"] = "RLIMIT_NOFILE",
        ["Max core file size"] = "RLIMIT_CORE",
        ["Max file size"] = "RLIMIT_FSIZE",
        ["Max locked memory"] = "RLIMIT_MEMLOCK",
        ["Max msgqueue size"] = "RLIMIT_MSGQUEUE",
        ["Max pending signals"] = "RLIMIT_SIGPENDING",
        ["Max realtime priority"] = "RLIMIT_RTPRIO",
        ["Max nice priority"] = "RLIMIT_NICE",
        ["Max stack size"] = "RLIMIT_STACK",
        ["Max processes"] = "RLIMIT_NPROC",
    };
}
