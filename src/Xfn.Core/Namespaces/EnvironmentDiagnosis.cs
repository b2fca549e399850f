using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>Why something that runs need was refused (a clause) and the remedy (sentences), for checks and runs.</summary>
internal sealed record EnvironmentDiagnosis(string Found, string Remedy)
{
    /// <param name="stage">Where the run was.</param>
    /// <param name="attempt">What could not be done: <c>make a user namespace</c>.</param>
    public ContainerEnvironmentException ToException(RunStage stage, string attempt) => new(stage, $"cannot {attempt}: {Found}. {Remedy}");

    /// <summary>Why unshare(1) could not make a user, mount and PID namespace. Its stderr is in English
    /// (<c>LC_ALL=C</c>).</summary>
    public static EnvironmentDiagnosis OfUnshare(string error, SystemFiles? files = null)
    {
        files ??= new SystemFiles();
        ProcessStatus status = ProcessStatus.Read(files);
        foreach (string kind in (string[])["user", "mnt", "pid"])
        {
            if (files.ReadNumber($"/proc/sys/user/max_{kind}_namespaces") == 0)
                return new($"user.max_{kind}_namespaces is 0", $"As root: sysctl -w user.max_{kind}_namespaces=15000, and the same line in /etc/sysctl.d/ to keep it.");
        }

        if (files.ReadNumber("/proc/sys/kernel/unprivileged_userns_clone") == 0 && !status.IsAdministrator)
            return new("kernel.unprivileged_userns_clone is 0, so only root may make user namespaces",
                "As root: sysctl -w kernel.unprivileged_userns_clone=1, and the same line in /etc/sysctl.d/ to keep it.");
        // AppArmor lets the namespace be made, and takes every capability in it away.
        if (files.ReadNumber("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 && !status.IsAdministrator)
            return new("AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
                "Give this program an AppArmor profile with the rule 'userns,', or as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0.");
        if (!File.Exists(files.PathOf("/proc/self/ns/user")))
            return new("this kernel has no user namespaces", "Use a kernel built with CONFIG_USER_NS=y.");
        if (IsAbout(error, "No space left on device"))
            return new("there are too many user namespaces, or they are nested too deep",
                $"Raise user.max_user_namespaces (now {files.ReadNumber("/proc/sys/user/max_user_namespaces")}); namespaces may be nested 32 deep.");
        if (IsAbout(error, "Resource temporarily unavailable") || IsAbout(error, "Cannot allocate memory"))
            return new("this user has as many processes as it may", "Raise 'ulimit -u', or the pids limit of the outer container or service (TasksMax=).");
        if (status.IsFiltered && IsAbout(error, "Operation not permitted"))
            return new("a seccomp filter of an outer container forbids unshare",
                "Run that container with a profile that allows unshare, mount and pivot_root: docker run --security-opt seccomp=unconfined, in Kubernetes seccompProfile: {type: Unconfined}.");
        if (MountTable.Find(MountTable.Read(files), "/") is null)
            return new("this process is in a chroot, where the kernel makes no user namespaces", "Leave the chroot, or enter it with pivot_root.");
        return new(error.Length == 0 ? "unshare failed and did not say why" : error, "See whether a security module (SELinux, AppArmor) or a container around this program forbids it.");
    }

    /// <summary>Why a container's host cannot be named. In namespaces of its own the kernel refuses that to nobody, but
    /// podman's default filter lets namespaces be made, and refuses this.</summary>
    public static EnvironmentDiagnosis OfHostName() => new("a seccomp filter of an outer container forbids sethostname",
        "Run that container with a profile that allows it: podman or docker run --security-opt seccomp=unconfined, in Kubernetes seccompProfile: {type: Unconfined}.");

    /// <summary>Why unshare(1) cannot be used, when it is not there or too old.</summary>
    public static EnvironmentDiagnosis OfUtilLinux(string found) => new(found, $"Install util-linux 2.36 or newer ({SystemPackage.UtilLinux.Command}; Debian 11, Ubuntu 22.04, RHEL 9 have it), and put it in PATH before busybox.");

    /// <summary>Why a fresh /proc could not be mounted in new namespaces.</summary>
    public static EnvironmentDiagnosis OfProc(string error, SystemFiles? files = null)
    {
        string[] over = [.. MountsOverProc(files ?? new SystemFiles())];
        return over.Length == 0
            ? new($"the kernel refuses a fresh /proc: {error}", "See whether a security module (SELinux, AppArmor) forbids it.")
            : new($"/proc is masked, as containers have it ({over.Length} mounts over it, the first at {over[0]}), and the kernel refuses a fresh one then",
                "Unmask it: docker run --security-opt systempaths=unconfined, in Kubernetes procMount: Unmasked with hostUsers: false. Or let functions see the outer /proc, which shows them that container's processes (option Bundle:OuterProc).");
    }

    /// <summary>Why overlayfs cannot be mounted in a user namespace.</summary>
    public static EnvironmentDiagnosis OfOverlay(string error, SystemFiles? files = null)
    {
        files ??= new SystemFiles();
        if (files.KernelVersion < new Version(5, 11))
            return new($"Linux {files.KernelRelease} lets no user namespace mount overlayfs", "Use Linux 5.11 or newer.");
        if (!files.ReadLines("/proc/filesystems").Any(line => line.EndsWith("\toverlay", StringComparison.Ordinal)))
            return new("overlayfs is not in the kernel", "As root: modprobe overlay, and 'overlay' in /etc/modules-load.d/xfn.conf to keep it.");
        return new($"overlayfs cannot be mounted in a user namespace: {error}", "Have the cache on a local file system (ext4, xfs, btrfs, tmpfs), and see whether a security module forbids the mount.");
    }

    // systemd's automount of binfmt_misc, and nfsd, lie on directories that are always empty: they hide nothing.
    internal static IEnumerable<string> MountsOverProc(SystemFiles files) => MountTable.Read(files)
        .Select(m => m.MountPoint)
        .Where(p => p.StartsWith("/proc/", StringComparison.Ordinal) && p is not ("/proc/sys/fs/binfmt_misc" or "/proc/fs/nfsd"))
        .Distinct();

    private static bool IsAbout(string error, string errno) => error.Contains(errno, StringComparison.OrdinalIgnoreCase);
}
