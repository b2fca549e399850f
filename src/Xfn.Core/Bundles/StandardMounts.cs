namespace Xfn.Core.Bundles;

/// <summary>The mounts that the default bundles have.</summary>
internal static class StandardMounts
{
    /// <summary>What every function has, in the order of mounting.</summary>
    /// <param name="options">Sizes.</param>
    /// <param name="cgroups">Whether the hierarchy is unified: of older ones crun would bind all runs' groups.</param>
    /// <param name="sysfs">Whether the kernel mounts a fresh sysfs.</param>
    /// <param name="groups">How many group ids there are: group 5 is the terminals'.</param>
    public static IEnumerable<ContainerMount> Of(BundleOptions options, bool cgroups, bool sysfs, ulong groups)
    {
        // Read-only: functions that run as the caller's own user could else set things of its other processes.
        yield return options.OuterProc
            ? Mount("/proc", "bind", "/proc", "rbind", "nosuid", "noexec", "nodev", "ro", "rprivate")
            : Mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev");
        yield return Mount("/dev", "tmpfs", "tmpfs", "nosuid", "noexec", "mode=755", "size=64k", "nr_inodes=64");

        // max: the machine has 4,096 terminals for all of its containers.
        ContainerMount terminals = Mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "max=64");
        if (groups > 5)
            terminals.Options.Add("gid=5");
        yield return terminals;
        yield return Mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=64m", "nr_inodes=4096");
        yield return Mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev");

        // Where a fresh sysfs is refused crun would bind the outer one, hardware and all, in silence.
        yield return sysfs
            ? Mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
            : Mount("/sys", "tmpfs", "tmpfs", "nosuid", "noexec", "nodev", "ro", "mode=755", "size=64k", "nr_inodes=64");
        // Run-times learn their limits here.
        if (cgroups)
            yield return Mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro");
        yield return Temporary("/tmp", options);
    }

    public static ContainerMount Temporary(string destination, BundleOptions options)
    {
        ContainerMount mount = Mount(destination, "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777", $"size={options.TmpBytes}", $"nr_inodes={options.TmpFiles}");
        if (!options.TmpExecutable)
            mount.Options.Add("noexec");
        return mount;
    }

    /// <summary>A file or directory of this machine, read-only.</summary>
    public static ContainerMount ReadOnly(string source, string destination) => Mount(destination, "bind", source, "bind", "ro", "nosuid", "nodev", "private");

    private static ContainerMount Mount(string destination, string type, string source, params ReadOnlySpan<string> options) =>
        new() { Destination = destination, Type = type, Source = source, Options = [.. options] };
}
