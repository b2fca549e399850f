namespace Xfn.Core.Bundles;

/// <summary>Parts of /proc and /sys that no function sees, or may write to.</summary>
internal static class SystemPaths
{
    private const string Processors = "/sys/devices/system/cpu";

    /// <summary>All that moby, containerd or podman hide: hardware, keys, timers and power meters.</summary>
    public static readonly IReadOnlyList<string> MaskedInProc =
    [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi",
    ];

    /// <summary>Likewise of sysfs, with those of this machine's processors that tell of their temperature.</summary>
    public static IReadOnlyList<string> MaskedInSys() =>
    [
        "/sys/firmware", "/sys/fs/selinux", "/sys/dev/block", "/sys/devices/virtual/powercap",
        .. Throttles(),
    ];

    public static readonly IReadOnlyList<string> ReadOnly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

    private static IEnumerable<string> Throttles()
    {
        try
        {
            return [.. Directory.EnumerateDirectories(Processors, "cpu*").Select(d => d + "/thermal_throttle").Where(Directory.Exists).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
