namespace Xfn.Core.Bundles;

/// <summary>An entry of the runtime specification's <c>mounts</c>.</summary>
/// <param name="Destination">Where, in the root.</param>
/// <param name="Type">The file system's type.</param>
/// <param name="Source">What is mounted; by habit the type's name where that does not matter.</param>
/// <param name="Options">Options as mount(8) writes them.</param>
internal sealed record BundleMount(string Destination, string Type, string Source, params string[] Options)
{
    /// <summary>What every function has, in the order of mounting.</summary>
    /// <param name="options">Sizes.</param>
    /// <param name="cgroups">Whether there is a unified hierarchy: of the older ones crun would bind the machine's, other runs' groups and all.</param>
    /// <param name="sysfs">Whether the kernel mounts a fresh sysfs.</param>
    /// <param name="groups">How many group ids there are: group 5 is the terminals'.</param>
    public static IEnumerable<BundleMount> Standard(BundleOptions options, bool cgroups, bool sysfs, ulong groups)
    {
        // The outer one read-only: where functions run as the caller's own user they could set what that user may of its other processes.
        yield return options.OuterProc
            ? new("/proc", "bind", "/proc", "rbind", "nosuid", "noexec", "nodev", "ro", "rprivate")
            : new("/proc", "proc", "proc", "nosuid", "noexec", "nodev");
        yield return new("/dev", "tmpfs", "tmpfs", "nosuid", "noexec", "mode=755", "size=64k", "nr_inodes=64");

        // max: the machine has 4,096 terminals for all of its containers.
        string[] terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "max=64"];
        yield return new("/dev/pts", "devpts", "devpts", groups > 5 ? [.. terminals, "gid=5"] : terminals);
        yield return new("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=64m", "nr_inodes=4096");
        yield return new("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev");

        // Where a fresh sysfs is refused crun would bind the outer one, hardware and all, in silence.
        yield return sysfs
            ? new("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
            : new("/sys", "tmpfs", "tmpfs", "nosuid", "noexec", "nodev", "ro", "mode=755", "size=64k", "nr_inodes=64");
        // Run-times learn their limits here.
        if (cgroups)
            yield return new("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro");
        yield return Temporary("/tmp", options);
    }

    /// <summary>A directory to write to.</summary>
    public static BundleMount Temporary(string destination, BundleOptions options)
    {
        string[] mount = ["nosuid", "nodev", "mode=1777", $"size={options.TmpBytes}", $"nr_inodes={options.TmpFiles}"];
        return new(destination, "tmpfs", "tmpfs", options.TmpExecutable ? mount : [.. mount, "noexec"]);
    }

    /// <summary>A file or directory of this machine, read-only.</summary>
    public static BundleMount ReadOnly(string source, string destination) =>
        new(destination, "bind", source, "bind", "ro", "nosuid", "nodev", "private");
}
