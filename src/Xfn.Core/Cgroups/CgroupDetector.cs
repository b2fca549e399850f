using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>Finds the hierarchies that runs can get cgroups in. Changes nothing.</summary>
internal static class CgroupDetector
{
    private const string DelegateRemedy =
        "Run this program in a delegated cgroup: 'systemd-run --user --scope -p Delegate=yes COMMAND', or a service with 'Delegate=yes' in its unit";

    public static (CgroupSupport Support, IReadOnlyList<CgroupHierarchy> Hierarchies) Detect(CgroupPaths paths)
    {
        IReadOnlyList<CgroupMount> mounts;
        try
        {
            mounts = CgroupMount.ReadAll(paths);
        }
        catch (Exception e) when (CgroupFile.IsFileError(e))
        {
            return (new CgroupSupport([.. CgroupSupport.All.Select(c => Unusable(c, $"the cgroups of this process cannot be read: {e.Message}", "Mount /proc"))]), []);
        }

        var support = new List<ControllerSupport>();
        var v1 = new Dictionary<string, CgroupControllers>();
        V2Base v2 = FindV2Base(mounts.FirstOrDefault(m => m.IsV2));
        CgroupControllers v2Controllers = CgroupControllers.None;
        foreach (CgroupControllers controller in CgroupSupport.All)
        {
            // A controller is in one hierarchy only, and version 1's have theirs fixed.
            if (mounts.FirstOrDefault(m => m.Controllers.Contains(CgroupSupport.NameOf(controller))) is { } mount)
            {
                ControllerSupport found = CheckV1(controller, mount);
                support.Add(found);
                if (found.IsUsable)
                    v1[mount.OwnDirectory!] = v1.GetValueOrDefault(mount.OwnDirectory!) | controller;
            }
            else
            {
                ControllerSupport found = CheckV2(controller, v2);
                support.Add(found);
                v2Controllers |= found.IsUsable ? controller : CgroupControllers.None;
            }
        }

        List<CgroupHierarchy> hierarchies = [.. v1.Select(h => new CgroupV1Hierarchy(h.Key, h.Value))];
        if (v2Controllers != 0)
            hierarchies.Add(new CgroupV2Hierarchy(v2.Directory!, v2Controllers));
        return (new CgroupSupport(support), hierarchies);
    }

    private static ControllerSupport CheckV1(CgroupControllers controller, CgroupMount mount)
    {
        string? directory = mount.OwnDirectory;
        if (directory is null)
            return Unusable(controller, NotShown(mount), ContainerRemedy);
        if (!Posix.CanWrite(directory) || !Posix.CanWrite($"{directory}/cgroup.procs"))
            return Unusable(controller, $"'{directory}' (cgroup version 1) is not writable", "Run as root, or boot with systemd.unified_cgroup_hierarchy=1: version 1 is delegated to nobody else");
        return new ControllerSupport(controller, true, $"version 1, below {directory}", "");
    }

    private const string ContainerRemedy = "Give the outer container a writable cgroup of its own: docker run --cgroupns=private --privileged, or a cgroup volume that its user may write";

    private static ControllerSupport CheckV2(CgroupControllers controller, V2Base found)
    {
        if (found.Directory is null)
            return Unusable(controller, found.Problem, found.Remedy);
        if (found.Available.HasFlag(controller))
            return new ControllerSupport(controller, true, $"version 2, below {found.Directory}{found.Note}", "");

        string name = CgroupSupport.NameOf(controller);
        string listed = string.Join(' ', CgroupSupport.Names(found.Available));
        return Unusable(
            controller,
            $"'{found.Directory}/cgroup.controllers' does not list {name}, only '{listed}'",
            $"Delegate it all the way down: 'Delegate=cpu memory pids' in this program's unit, and for a user's unit in user@.service too; or boot the kernel with {name} enabled");
    }

    /// <summary>Where on version 2 cgroups can be made, or why nowhere.</summary>
    private sealed record V2Base(string? Directory, CgroupControllers Available, string Note, string Problem, string Remedy);

    private static V2Base Nowhere(string problem, string remedy) => new(null, CgroupControllers.None, "", problem, remedy);

    private static V2Base FindV2Base(CgroupMount? mount)
    {
        if (mount is null)
            return Nowhere("no cgroup file system has it", "Mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
        if (mount.OwnDirectory is not { } own)
            return Nowhere(NotShown(mount), ContainerRemedy);

        // An earlier runner has moved this process, or one that started it.
        if (Path.GetFileName(own) == CgroupV2Hierarchy.HostCgroup)
            own = Path.GetDirectoryName(own)!;
        bool writable = IsWritable(own);
        if (writable && IsOurs(own))
            return Base(own, "");

        // Root's own subtree, as other container engines have theirs. The root cgroup alone has no cgroup.type.
        if (!File.Exists($"{mount.MountPoint}/cgroup.type") && IsWritable(mount.MountPoint))
            return Base(mount.MountPoint, ", since this program's own cgroup is not delegated to it: its own limits do not hold for functions");

        return writable
            ? Nowhere($"cgroup '{mount.OwnPath}' is systemd's, which did not delegate it to this program", DelegateRemedy)
            : Nowhere($"cgroup '{mount.OwnPath}' is not delegated to user id {Posix.EffectiveUserId}", DelegateRemedy);
    }

    private static V2Base Base(string directory, string note)
    {
        try
        {
            return new V2Base(directory, CgroupV2Hierarchy.ReadControllers(directory, "cgroup.controllers"), note, "", "");
        }
        catch (Exception e) when (CgroupFile.IsFileError(e))
        {
            return Nowhere($"'{directory}' cannot be read: {e.Message}", DelegateRemedy);
        }
    }

    // Moving a process needs the right to write cgroup.procs of the common ancestor of where it was and where it goes.
    private static bool IsWritable(string directory) =>
        Posix.CanWrite(directory) && Posix.CanWrite($"{directory}/cgroup.procs") && Posix.CanWrite($"{directory}/cgroup.subtree_control");

    // At a daemon-reload systemd takes controllers and limits back from units that are not delegated. Only delegated
    // ones are writable for others; root tells them by a mark.
    private static bool IsOurs(string directory)
    {
        bool isUnit = Path.GetExtension(directory) is ".service" or ".scope" or ".slice";
        return !isUnit || !Environment.IsPrivilegedProcess || Posix.HasAttribute(directory, "user.delegate") || Posix.HasAttribute(directory, "trusted.delegate");
    }

    private static string NotShown(CgroupMount mount) => $"the mount at '{mount.MountPoint}' does not show this process's cgroup '{mount.OwnPath}'";

    private static ControllerSupport Unusable(CgroupControllers controller, string found, string remedy) => new(controller, false, found, remedy + ".");
}

/// <summary>Which limits can be enforced here, and why not the others: for each of memory, cpu and pids.</summary>
internal sealed record CgroupSupport(IReadOnlyList<ControllerSupport> Controllers)
{
    public static readonly CgroupControllers[] All = [CgroupControllers.Memory, CgroupControllers.Cpu, CgroupControllers.Pids];

    public CgroupControllers Usable => Controllers.Where(c => c.IsUsable).Aggregate(CgroupControllers.None, (all, c) => all | c.Controller);

    /// <summary>The name of a controller, as the kernel writes it.</summary>
    public static string NameOf(CgroupControllers controller) => controller.ToString().ToLowerInvariant();

    public static IEnumerable<string> Names(CgroupControllers controllers) => All.Where(c => controllers.HasFlag(c)).Select(NameOf);
}

/// <summary>Whether one controller can be used. What was found is where it is used, or a clause that says why it cannot
/// be; the remedy is a sentence, empty when it can.</summary>
internal sealed record ControllerSupport(CgroupControllers Controller, bool IsUsable, string Found, string Remedy)
{
    public string Name => CgroupSupport.NameOf(Controller);
}
