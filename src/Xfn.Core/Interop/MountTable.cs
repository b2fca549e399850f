namespace Xfn.Core.Interop;

/// <summary>A line of mountinfo. The options are the mount's own: ro, noexec, nosuid; the file system has
/// others.</summary>
internal sealed record MountEntry(string Id, string Parent, string Root, string MountPoint, IReadOnlyList<string> Options, string Type, IReadOnlyList<string> SuperOptions)
{
    /// <summary>Whether nothing can be written there.</summary>
    public bool IsReadOnly => Options.Contains("ro") || SuperOptions.Contains("ro");
}

/// <summary>What is mounted where.</summary>
/// <remarks>https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html</remarks>
internal static class MountTable
{
    public static IReadOnlyList<MountEntry> Read(SystemFiles files) => Parse(files.ReadLines("/proc/self/mountinfo"));

    public static IReadOnlyList<MountEntry> Parse(IEnumerable<string> lines)
    {
        var mounts = new List<MountEntry>();
        foreach (string line in lines)
        {
            // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [FIELD…] - TYPE SOURCE SUPEROPTIONS
            string[] fields = line.Split(' ');
            int dash = fields.Length > 6 ? Array.IndexOf(fields, "-", 6) : -1;
            if (dash > 0 && fields.Length > dash + 3)
                mounts.Add(new MountEntry(fields[0], fields[1], Unescape(fields[3]), Unescape(fields[4]), fields[5].Split(','), fields[dash + 1], fields[dash + 3].Split(',')));
        }

        return mounts;
    }

    /// <summary>The mount that a path is on; null when nothing is mounted at <c>/</c>, as in a chroot.</summary>
    public static MountEntry? Find(IEnumerable<MountEntry> mounts, string path) =>
        // Of several at the same place the last one is on top.
        mounts.Where(m => IsBelow(path, m.MountPoint)).Aggregate((MountEntry?)null, (best, m) => best is null || m.MountPoint.Length >= best.MountPoint.Length ? m : best);

    /// <summary>Whether a path is a directory or below it.</summary>
    public static bool IsBelow(string path, string directory) =>
        path == directory || path.StartsWith(directory.EndsWith('/') ? directory : directory + "/", StringComparison.Ordinal);

    private static string Unescape(string field) => !field.Contains('\\', StringComparison.Ordinal) ? field
        : field.Replace("\\040", " ", StringComparison.Ordinal).Replace("\\011", "\t", StringComparison.Ordinal)
            .Replace("\\012", "\n", StringComparison.Ordinal).Replace("\\134", "\\", StringComparison.Ordinal);
}
