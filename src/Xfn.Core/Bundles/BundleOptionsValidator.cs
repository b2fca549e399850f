using Xfn.Core.Spark;

namespace Xfn.Core.Bundles;

/// <summary>Refuses options that no function could be run with, or that would undo its containment.</summary>
internal static class BundleOptionsValidator
{
    private const long MinBytes = 64 << 10;
    private const long MaxBytes = 1L << 40;

    private static readonly string[] Capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    private static readonly string[] Reserved = ["/proc", "/sys", "/dev"];

    public static void Validate(BundleOptions options)
    {
        if (options.WritableRootBytes != 0)
            CheckRange(nameof(options.WritableRootBytes), options.WritableRootBytes, MinBytes, MaxBytes);
        if (options.VolumeBytes != 0)
            CheckRange(nameof(options.VolumeBytes), options.VolumeBytes, MinBytes, MaxBytes);
        CheckRange(nameof(options.TmpBytes), options.TmpBytes, MinBytes, MaxBytes);
        CheckRange(nameof(options.TmpFiles), options.TmpFiles, 16, 1 << 24);
        CheckRange(nameof(options.ProcessLimit), options.ProcessLimit ?? BundleOptions.DefaultProcessLimit, 16, 1 << 22);
        Check(nameof(options.SeccompFilter), options.SeccompFilter.IsEmpty || SparkContainers.IsFilter(options.SeccompFilter), $"{options.SeccompFilter.Length} bytes",
            $"it is not whole instructions of {SparkContainer.InstructionBytes} bytes, at most {SparkContainers.MaxInstructions}", "Give what seccomp_export_bpf writes");

        foreach ((string name, string value) in options.Environment)
        {
            Check(nameof(options.Environment), name.Length > 0 && !name.AsSpan().ContainsAny('=', '\0'), name, "a name is empty, or holds '=' or NUL", "Give variables names");
            Check(nameof(options.Environment), value is not null && !value.Contains('\0'), name, "its value is null or holds NUL", "Give it a text");
        }

        foreach (string capability in options.AddedCapabilities)
        {
            Check(nameof(options.AddedCapabilities), Capabilities.Contains(capability), capability, "it is not one that a function may have",
                $"Choose from {string.Join(", ", Capabilities)}");
        }
        Check(nameof(options.AddedCapabilities), options.AddedCapabilities.Distinct().Count() == options.AddedCapabilities.Count,
            string.Join(", ", options.AddedCapabilities), "one is named twice", "Name it once");

        var destinations = new HashSet<string>(StringComparer.Ordinal);
        foreach (ReadOnlyMount mount in options.ReadOnlyMounts)
        {
            Check(nameof(options.ReadOnlyMounts), mount is not null, null, "one of them is null", "Leave it out");
            Check(nameof(options.ReadOnlyMounts), MountPoints.IsPath(mount!.Source), mount.Source, "the source is no absolute path without empty, '.' and '..' components", "Write it whole");
            Check(nameof(options.ReadOnlyMounts), MountPoints.IsPath(mount.Destination) && mount.Destination != "/", mount.Destination,
                "the destination is no absolute path without empty, '.' and '..' components", "Write it whole");
            Check(nameof(options.ReadOnlyMounts), !Reserved.Any(r => MountPoints.IsBelow(mount.Destination, r)) && mount.Destination != "/tmp", mount.Destination,
                "every function has its own there", "Mount it elsewhere");
            Check(nameof(options.ReadOnlyMounts), destinations.Add(mount.Destination), mount.Destination, "two mounts have this destination", "Remove one");
        }
    }

    /// <summary>Refuses a seccomp profile that nobody compiles.</summary>
    public static void CheckSeccomp(BundleOptions options, string? runtime) =>
        Check(nameof(options.SeccompProfile), runtime is not null || options.SeccompProfile.IsEmpty || !options.SeccompFilter.IsEmpty, $"{options.SeccompProfile.Length} bytes",
            "it is not compiled, and xfn-spark compiles none", "Give it compiled (option Bundle:SeccompFilter), or name an OCI runtime that compiles it (option Runtime)");

    private static void CheckRange(string option, long value, long least, long most) =>
        Check(option, value >= least && value <= most, value, $"it is not between {least} and {most}", "Choose a value in that range");

    private static void Check(string option, bool valid, object? value, string found, string remedy)
    {
        if (!valid)
            throw new ArgumentException($"cannot use option {option} '{value}': {found}. {remedy}.");
    }
}
