using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Run;

/// <summary>This spark in its namespaces: its name, its identity, and what it denies to a function in them.</summary>
internal static unsafe class SparkNamespace
{
    /// <param name="name">What this process is called in listings, ended by a zero.</param>
    public static void NameProcess(ReadOnlySpan<byte> name)
    {
        const int setName = 15;
        fixed (byte* bytes = name)
            _ = Libc.prctl(setName, (nint)bytes);
    }

    /// <summary>Makes this process root of its namespaces, and closes them: what every run needs, whatever its image.</summary>
    /// <param name="outerProc">Whether the machine's /proc will do where the kernel refuses a fresh one.</param>
    public static void Settle(bool outerProc)
    {
        BecomeRoot();
        MakeMachineReadOnly(outerProc);
        MountProc(outerProc);
        SetLimits(outerProc);

        // Where one id is mapped the container's processes have this one's user, and share its PID namespace with its
        // children for a moment. So they open nothing of it, nor of its children before they execute a program.
        if (Libc.prctl(Libc.PR_SET_DUMPABLE, 0) != 0)
            throw SparkException.FromErrno("cannot close this process to others");
    }

    /// <summary>Settles with a /proc of its own.</summary>
    /// <returns>What it could not do; null when all is done.</returns>
    public static SparkException? TrySettle()
    {
        try
        {
            Settle(outerProc: false);
            return null;
        }
        catch (SparkException ex)
        {
            return ex;
        }
    }

    /// <summary>Makes this process, whose ids the namespace did not know at its start, the namespace's root.</summary>
    /// <param name="directory">The working directory to take before, since the directories above may be the caller's
    /// alone; null for that which it has.</param>
    public static void BecomeRoot(string? directory = null)
    {
        if (directory is not null && Libc.chdir(directory) != 0)
            throw SparkException.FromErrno($"cannot enter '{directory}'");

        // Where one id is mapped the kernel denies setgroups; the caller's groups then stay, and mean nothing inside.
        if (Libc.setgroups(0, null) != 0 && Libc.Errno != Libc.EPERM)
            throw SparkException.FromErrno("cannot drop supplementary groups");
        if (Libc.setresgid(0, 0, 0) != 0)
            throw SparkException.FromErrno("cannot become group 0 of the user namespace");
        if (Libc.setresuid(0, 0, 0) != 0)
            throw SparkException.FromErrno("cannot become user 0 of the user namespace");
        _ = Libc.umask(0);
    }

    /// <summary>Makes the machine's file systems read-only, for this namespace and those made of it: no run writes to
    /// the machine. A function whose first process is told to execute <c>/proc/self/exe</c>, as by <c>#!</c>, has this
    /// executable as its own, and could else open it for writing where its file is the caller's. So the spawner
    /// executes it by a path in this namespace: an open file stays on the mount that it was opened on.</summary>
    /// <param name="outerProc">Whether the machine's /proc is to serve, which is written to.</param>
    private static void MakeMachineReadOnly(bool outerProc)
    {
        var attributes = new Libc.MountAttributes { Set = (ulong)Libc.MOUNT_ATTR_RDONLY };

        // Before Linux 5.12 there is no such call; there the kernel lets nobody write to what is being executed, as it
        // does again since 6.13.
        if (Change("/", recursive: true, &attributes) != 0 && Libc.Errno != Libc.ENOSYS)
            throw SparkException.FromErrno("cannot make the machine's file systems read-only for the function");
        if (!outerProc)
            return;
        attributes = new Libc.MountAttributes { Clear = (ulong)Libc.MOUNT_ATTR_RDONLY };

        // One that was read-only before stays so.
        _ = Change("/proc", recursive: false, &attributes);
    }

    /// <summary>Mounts a fresh /proc. The machine's has another PID namespace's ids, and shows all processes.</summary>
    /// <param name="outerProc">Whether the machine's /proc will do where the kernel refuses a fresh one.</param>
    public static void MountProc(bool outerProc)
    {
        if (Libc.mount("proc", "/proc", "proc", Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC, null) != 0 && !outerProc)
            throw SparkException.FromErrno("cannot mount a fresh /proc", Libc.Errno, SparkFailureKind.Proc);
    }

    /// <summary>Binds cgroup version 2 over /sys/fs/cgroup where it is below version 1: crun needs it pure.</summary>
    public static void ShowPureCgroups()
    {
        const string Cgroups = "/sys/fs/cgroup", Unified = "/sys/fs/cgroup/unified";
        if (Libc.FileSystemType(Cgroups) != Libc.CGROUP2_SUPER_MAGIC && Libc.FileSystemType(Unified) == Libc.CGROUP2_SUPER_MAGIC
            && Libc.mount(Unified, Cgroups, null, Libc.MS_BIND, null) != 0)
        {
            throw SparkException.FromErrno($"cannot bind {Unified} over {Cgroups}");
        }
    }

    /// <summary>Limits what a function may take of all that the kernel counts for each user: in the run's own user
    /// namespace, by <c>/proc/sys/user</c>.</summary>
    /// <remarks>It counts for the runner's user too: one function could else take all that this user has.</remarks>
    private static void SetLimits(bool outerProc)
    {
        // In a new one a function would be root, and reach all that the kernel opens to roots. A runtime needs none.
        Limit("user_namespaces", "0"u8, outerProc);
        Limit("time_namespaces", "0"u8, outerProc);

        // The run's own, this spark's where one id is mapped, and some to spare for a runtime. Nobody inside has the
        // capability to make another; the limits hold whatever the seccomp filter is.
        Limit("cgroup_namespaces", "4"u8, outerProc);
        Limit("ipc_namespaces", "4"u8, outerProc);
        Limit("mnt_namespaces", "4"u8, outerProc);
        Limit("net_namespaces", "4"u8, outerProc);
        Limit("pid_namespaces", "4"u8, outerProc);
        Limit("uts_namespaces", "4"u8, outerProc);

        // A user has 128 on most machines, and programs use one or two.
        Limit("inotify_instances", "16"u8, outerProc);
        Limit("inotify_watches", "8192"u8, outerProc);
        Limit("fanotify_groups", "16"u8, outerProc);
        Limit("fanotify_marks", "8192"u8, outerProc);
    }

    private static nint Change(string path, bool recursive, Libc.MountAttributes* attributes)
    {
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
            return Libc.syscall(Libc.SYS_mount_setattr, Libc.AT_FDCWD, (nint)name, recursive ? Libc.AT_RECURSIVE : 0, (nint)attributes, sizeof(Libc.MountAttributes));
    }

    private static void Limit(string name, ReadOnlySpan<byte> most, bool outerProc)
    {
        using Descriptor file = Libc.open($"/proc/sys/user/max_{name}", Libc.O_WRONLY | Libc.O_CLOEXEC);
        fixed (byte* value = most)
        {
            // Old kernels lack some. An engine's /proc/sys is read-only for good; there the seccomp profile remains.
            bool done = file < 0 ? Libc.Errno == Libc.ENOENT : Libc.write(file, value, (nuint)most.Length) == most.Length;
            if (!done && !outerProc)
                throw SparkException.FromErrno($"cannot limit the {name.Replace('_', ' ')} that a function may have");
        }
    }
}
