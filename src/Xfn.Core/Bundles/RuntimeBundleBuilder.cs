using Xfn.Core.Bundles;

namespace Xfn.Core;

/// <summary>Describes the container of a function: the default.</summary>
/// <remarks>Functions have no capabilities, gain no privileges, have a seccomp filter, their own /proc and /sys, and
/// write only to <c>/tmp</c>, <c>/dev/shm</c>, <c>/dev</c> and the image's volumes. Wrap it to change that.</remarks>
public sealed class RuntimeBundleBuilder : IBundleBuilder
{
    private readonly BundleOptions _options;
    private readonly ContainerSeccomp _seccomp;
    private readonly IReadOnlyList<Rlimit> _limits;
    private readonly bool _sysfs;
    private readonly bool _cgroups = File.Exists("/sys/fs/cgroup/cgroup.controllers") || Directory.Exists("/sys/fs/cgroup/unified");
    private readonly IReadOnlyList<string> _maskedInSys = SystemPaths.MaskedInSys();

    /// <summary>Makes a builder.</summary>
    /// <param name="options">What functions get beyond the defaults; the defaults when null.</param>
    /// <exception cref="ArgumentException">An option is out of its range; the message names it.</exception>
    public RuntimeBundleBuilder(BundleOptions? options = null)
        : this(Checked(options), File.ReadAllText("/proc/self/mountinfo"))
    {
    }

    /// <param name="options">Checked and copied.</param>
    /// <param name="mountInfo"><c>/proc/self/mountinfo</c>.</param>
    internal RuntimeBundleBuilder(BundleOptions options, string mountInfo)
    {
        _options = options;
        _sysfs = SysfsVisibility.AllowsFresh(mountInfo);
        _seccomp = Seccomp.Load(_options);
        int? processes = Rlimits.CountsProcessesByNamespace ? _options.ProcessLimit ?? BundleOptions.DefaultProcessLimit : null;
        _limits = Rlimits.All(Rlimits.ReadHardLimits(File.ReadAllText("/proc/self/limits")), processes);
    }

    /// <summary>Whether resolving an image's user takes its <c>/etc/passwd</c> and <c>/etc/group</c>.</summary>
    /// <inheritdoc path="/param"/>
    public bool NeedsUserFiles(ImageConfig image)
    {
        ArgumentNullException.ThrowIfNull(image);
        return ImageUser.NeedsFiles(image.Config);
    }

    /// <summary>Whether the container has nothing of this machine that may change: mounts or name servers.</summary>
    /// <inheritdoc path="/param"/>
    public bool IsStable(BundleContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return HasOwnNetwork(context) && _options.ReadOnlyMounts.Count == 0;
    }

    /// <inheritdoc/>
    public ContainerSpecification Build(BundleContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        bool ownNetwork = HasOwnNetwork(context);
        // A fresh sysfs belongs to a network namespace, and only who owns that may mount it.
        bool sysfs = ownNetwork && _sysfs;
        string hostname = context.Container.Hostname ?? ImageProcess.Hostname(context.Image.Config?.Hostname);
        var container = new ContainerSpecification
        {
            Hostname = hostname,
            OwnNetwork = ownNetwork,
            Seccomp = _seccomp,
            VolumeBytes = _options.VolumeBytes,
            WritableRootBytes = context.Container.WritableRootBytes ?? _options.WritableRootBytes,
            OuterProc = _options.OuterProc,
        };
        Describe(container.Process, context, hostname);
        Mount(container, context, sysfs);
        Add(container.MaskedPaths, SystemPaths.MaskedInProc);
        if (sysfs)
            Add(container.MaskedPaths, _maskedInSys);
        Add(container.ReadOnlyPaths, SystemPaths.ReadOnly);
        Add(container.Files, EtcFiles.Of(hostname, ownNetwork, context.Container.ExtraHosts));
        return container;
    }

    private static BundleOptions Checked(BundleOptions? options)
    {
        BundleOptions copy = (options ?? new BundleOptions()).Copy();
        BundleOptionsValidator.Validate(copy);
        return copy;
    }

    private static bool HasOwnNetwork(BundleContext context) => context.Config.Network switch
    {
        NetworkPolicy.Isolated => true,
        NetworkPolicy.Runner => false,
        var other => throw new InvalidRequestException($"cannot use network policy '{other}': there is none of that number. Use Isolated or Runner."),
    };

    private void Describe(ContainerProcess process, BundleContext context, string hostname)
    {
        ImageUser user = ImageUser.Resolve(context);
        IReadOnlyList<string> arguments = ImageProcess.Arguments(context);
        IReadOnlyDictionary<string, string> environment = ImageProcess.Environment(context, _options.Environment, user.Home, hostname);
        ImageProcess.CheckSize(context, arguments, environment);
        Add(process.Arguments, arguments);
        foreach ((string name, string value) in environment)
            process.Environment[name] = value;
        process.WorkingDirectory = ImageProcess.WorkingDirectory(context);
        (process.Uid, process.Gid) = (user.Uid, user.Gid);
        Add(process.AdditionalGids, user.Groups);
        Add(process.Capabilities, _options.AddedCapabilities);
        Add(process.Rlimits, _limits);

        // The function goes first when memory is short, the runner's own processes and its neighbours' after it.
        process.OomScoreAdjustment = 1000;
    }

    private void Mount(ContainerSpecification container, BundleContext context, bool sysfs)
    {
        string workingDirectory = container.Process.WorkingDirectory;
        Add(container.Mounts, StandardMounts.Of(_options, _cgroups, sysfs, (ulong)context.Mapping.Gids.Sum(r => (long)r.Count)));
        if (MountPoints.IsBelow(workingDirectory, "/tmp") && workingDirectory != "/tmp")
            container.Mounts.Add(StandardMounts.Temporary(workingDirectory, _options));
        foreach (string volume in ImageVolumes.Of(context, _options))
        {
            if (!MountPoints.IsBelow(volume, "/tmp"))
                container.Volumes.Add(volume);
            else if (volume != workingDirectory)
                container.Mounts.Add(StandardMounts.Temporary(volume, _options));
        }

        foreach (ReadOnlyMount mount in _options.ReadOnlyMounts)
            container.Mounts.Add(StandardMounts.ReadOnly(mount.Source, mount.Destination));
        foreach (Mount mount in context.Container.Mounts)
        {
            // In the place of the runner's or the image's own.
            if (container.Mounts.FirstOrDefault(other => other.Destination == mount.Destination) is { } replaced)
                container.Mounts.Remove(replaced);
            container.Volumes.Remove(mount.Destination);
            container.Mounts.Add(RequestMounts.Describe(mount));
        }
    }

    private static void Add<T>(IList<T> list, IEnumerable<T> items)
    {
        foreach (T item in items)
            list.Add(item);
    }
}
