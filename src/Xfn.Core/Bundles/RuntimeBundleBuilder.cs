using System.Runtime.CompilerServices;
using Xfn.Core.Bundles;

namespace Xfn.Core;

/// <summary>Makes bundles for OCI runtimes that are started as root of a user namespace, with cgroups left to the caller
/// (<c>crun --cgroup-manager=disabled</c>).</summary>
/// <remarks>Functions get no capabilities, cannot gain privileges, are filtered by seccomp, see a /proc and /sys of their own, and may write to <c>/tmp</c>,
/// <c>/dev/shm</c>, <c>/dev</c> and the image's volumes only. Wrap it to change a bundle. A bundle is kept as long as the image's configuration is alive, and given again for the same objects:
/// what they hold must not change.</remarks>
public sealed class RuntimeBundleBuilder : IBundleBuilder
{
    // A bundle takes as long to write as all else that the runner does for a warm run, and the same image gets the same one.
    private readonly ConditionalWeakTable<ImageConfig, Kept> _kept = [];
    private readonly BundleOptions _options;
    private readonly Seccomp _seccomp;
    private readonly IReadOnlyList<ResourceLimit> _limits;
    private readonly bool _sysfs;
    private readonly bool _cgroups = File.Exists("/sys/fs/cgroup/cgroup.controllers") || Directory.Exists("/sys/fs/cgroup/unified");
    private readonly IReadOnlyList<string> _maskedInSys = SystemPaths.MaskedInSys();

    /// <summary>Makes a builder.</summary>
    /// <param name="options">What functions get beyond the defaults; the defaults when null.</param>
    /// <exception cref="ArgumentException">An option is out of its range; the message names it.</exception>
    public RuntimeBundleBuilder(BundleOptions? options = null)
        : this(options, File.ReadAllText("/proc/self/mountinfo"))
    {
    }

    internal RuntimeBundleBuilder(BundleOptions? options, string mountInfo)
    {
        _options = options ?? new BundleOptions();
        BundleOptionsValidator.Validate(_options);
        _sysfs = SysfsVisibility.AllowsFresh(mountInfo);
        _seccomp = Seccomp.Load(_options);
        int? processes = ResourceLimit.CountsProcessesByNamespace ? _options.ProcessLimit ?? BundleOptions.DefaultProcessLimit : null;
        _limits = ResourceLimit.All(ResourceLimit.ReadHardLimits(File.ReadAllText("/proc/self/limits")), processes);
    }

    /// <summary>Whether an image's user can only be resolved with its <c>/etc/passwd</c> and <c>/etc/group</c>, which are to be given in the
    /// <see cref="BundleContext"/> then.</summary>
    /// <param name="image">The image's configuration.</param>
    public static bool NeedsUserFiles(ImageConfig image)
    {
        ArgumentNullException.ThrowIfNull(image);
        return ImageUser.NeedsFiles(image.Config);
    }

    /// <inheritdoc/>
    public Bundle Build(BundleContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        bool ownNetwork = context.Config.Network.Policy switch
        {
            NetworkPolicy.Unspecified or NetworkPolicy.Isolated => true,
            NetworkPolicy.Runner => false,
            var other => throw new InvalidRequestException($"cannot use network policy '{other}': there is none of that number. Use Isolated or Runner."),
        };
        // A fresh sysfs belongs to a network namespace, and only who owns that may mount it.
        bool sysfs = ownNetwork && _sysfs;
        // All else of this machine that goes into a bundle was looked at when the builder was made.
        bool isLasting = ownNetwork && _options.ReadOnlyMounts.Count == 0;
        if (isLasting && _kept.TryGetValue(context.Image, out Kept? kept) && kept.IsOf(context))
            return kept.Bundle;

        ImageUser user = ImageUser.Resolve(context);
        IReadOnlyList<string> arguments = ProcessPlan.Arguments(context);
        string hostname = ProcessPlan.Hostname(context.Image.Config?.Hostname);
        IReadOnlyDictionary<string, string> environment = ProcessPlan.Environment(context, _options.Environment, user.Home, hostname);
        ProcessPlan.CheckSize(context, arguments, environment);
        string workingDirectory = ProcessPlan.WorkingDirectory(context);

        List<BundleMount> mounts = [.. BundleMount.Standard(_options, _cgroups, sysfs, (ulong)context.Mapping.Gids.Sum(r => (long)r.Count))];
        var points = new MountPoints();
        // Those below /dev and /sys are made there by the runtime, or by the kernel.
        foreach (BundleMount mount in mounts.Where(m => m.Destination.LastIndexOf('/') == 0))
            points.AddDirectory(mount.Destination);
        if (MountPoints.IsBelow(workingDirectory, "/tmp") && workingDirectory != "/tmp")
            mounts.Add(BundleMount.Temporary(workingDirectory, _options));
        IReadOnlyList<string> volumes = ImageVolumes.Of(context, _options);
        foreach (string volume in volumes.Where(volume => MountPoints.IsBelow(volume, "/tmp") && volume != workingDirectory))
            mounts.Add(BundleMount.Temporary(volume, _options));
        foreach (ReadOnlyMount mount in _options.ReadOnlyMounts)
            Add(mount);
        var bundle = new Bundle
        {
            RuntimeConfig = RuntimeConfigWriter.Write(new RuntimeConfig
            {
                Arguments = arguments,
                Environment = environment,
                WorkingDirectory = workingDirectory,
                User = user,
                Hostname = hostname,
                Capabilities = _options.AddedCapabilities,
                Limits = _limits,
                Mounts = mounts,
                ReadOnlyRoot = _options.WritableRootBytes == 0,
                OwnNetwork = ownNetwork,
                MaskedPaths = sysfs ? [.. SystemPaths.MaskedInProc, .. _maskedInSys] : SystemPaths.MaskedInProc,
                ReadOnlyPaths = SystemPaths.ReadOnly,
                Seccomp = _seccomp,
            }),
            WritableRootBytes = _options.WritableRootBytes,
            OuterProc = _options.OuterProc,
            MountPoints = points.Directories,
            FileMountPoints = points.Files,
            Directories = [.. volumes.Prepend(workingDirectory).SelectMany(path => MountPoints.Parents(path, self: true)).Distinct()],
            Files = EtcFiles.Of(hostname, ownNetwork, _options.ReadOnlyMounts),
            Volumes = [.. volumes.Where(volume => !MountPoints.IsBelow(volume, "/tmp")).Select(volume => volume[1..])],
            VolumeBytes = _options.VolumeBytes,
        };
        if (isLasting)
            _kept.AddOrUpdate(context.Image, new Kept(context.Passwd, context.Group, context.Mapping, bundle));
        return bundle;

        void Add(ReadOnlyMount mount)
        {
            bool directory = Directory.Exists(mount.Source);
            if (!directory && !File.Exists(mount.Source))
            {
                throw new ContainerEnvironmentException(RunStage.Bundle,
                    $"cannot mount '{mount.Source}' at '{mount.Destination}': there is no such file or directory, or it cannot be reached. Make it, or leave the mount out.");
            }
            mounts.Add(BundleMount.ReadOnly(mount.Source, mount.Destination));
            if (MountPoints.IsBelow(mount.Destination, "/tmp"))
                return;
            if (directory)
                points.AddDirectory(mount.Destination);
            else
                points.AddFile(mount.Destination);
        }
    }

    /// <summary>The bundle that was last built of an image's configuration, and what else it was built from.</summary>
    private sealed record Kept(ReadOnlyMemory<byte> Passwd, ReadOnlyMemory<byte> Group, IdMapping Mapping, Bundle Bundle)
    {
        public bool IsOf(BundleContext context) => Passwd.Equals(context.Passwd) && Group.Equals(context.Group) && ReferenceEquals(Mapping, context.Mapping);
    }
}
