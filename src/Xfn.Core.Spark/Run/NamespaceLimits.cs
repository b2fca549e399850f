using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Run;

/// <summary>What a function may take of that of which the kernel grants each user a number: limits of the run's own user namespace, in <c>/proc/sys/user</c>.</summary>
/// <remarks>What is taken inside counts for the user who made the namespace too, which is the runner's: without limits here one function takes all that this user has.</remarks>
internal static unsafe class NamespaceLimits
{
    public static void Set(bool outerProc)
    {
        // A function in a namespace of its own would be root of it, with all of the kernel that is open to roots only. The runtime needs no further one.
        Set("user_namespaces", "0"u8, outerProc);
        Set("time_namespaces", "0"u8, outerProc);

        // The run's own, where one id is mapped this spark's, and some to spare for a runtime. Nobody inside has the capability to make another; this holds whatever the filter is.
        Set("cgroup_namespaces", "4"u8, outerProc);
        Set("ipc_namespaces", "4"u8, outerProc);
        Set("mnt_namespaces", "4"u8, outerProc);
        Set("net_namespaces", "4"u8, outerProc);
        Set("pid_namespaces", "4"u8, outerProc);
        Set("uts_namespaces", "4"u8, outerProc);

        // A user has 128 on most machines, and programs use one or two.
        Set("inotify_instances", "16"u8, outerProc);
        Set("inotify_watches", "8192"u8, outerProc);
        Set("fanotify_groups", "16"u8, outerProc);
        Set("fanotify_marks", "8192"u8, outerProc);
    }

    private static void Set(string name, ReadOnlySpan<byte> most, bool outerProc)
    {
        using Descriptor file = Libc.open($"/proc/sys/user/max_{name}", Libc.O_WRONLY | Libc.O_CLOEXEC);
        fixed (byte* value = most)
        {
            // An older kernel does not count some of them. A container engine has the outer /proc/sys read-only, for good; the seccomp profile remains there.
            bool done = file < 0 ? Libc.Errno == Libc.ENOENT : Libc.write(file, value, (nuint)most.Length) == most.Length;
            if (!done && !outerProc)
                throw SparkException.FromErrno($"cannot limit the {name.Replace('_', ' ')} that a function may have");
        }
    }
}
