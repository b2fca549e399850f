using System.Runtime.InteropServices;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>Makes children that share this process's memory, on a stack of their own, while the thread that made one
/// stands still (as with vfork(2)): until it has executed a program, or ended. <see cref="ContainerInit"/> has the rules
/// for what they do.</summary>
internal static unsafe class VforkChild
{
    private const nuint StackBytes = 256 << 10;

    private static readonly byte* _stack = (byte*)NativeMemory.AlignedAlloc(StackBytes, 64);

    /// <summary>Makes a child, and waits until it is one no longer.</summary>
    /// <param name="begin">What it does.</param>
    /// <param name="flags">Of clone(2): its namespaces, and what it shares besides the memory.</param>
    /// <param name="argument">What it is given.</param>
    /// <returns>Its process id, which must be waited for; or -1.</returns>
    public static int Start(delegate* unmanaged[Cdecl]<void*, int> begin, int flags, void* argument)
    {
        const int setMask = 2;

        // A handler must not run in the child, on memory that is not its own.
        ulong all = ulong.MaxValue, before;
        _ = VforkLibc.syscall(Processor.SYS_rt_sigprocmask, setMask, (nint)(&all), (nint)(&before), sizeof(ulong));
        int pid = Libc.clone(begin, _stack + StackBytes, Libc.CLONE_VM | Libc.CLONE_VFORK | flags | Libc.SIGCHLD, argument);
        _ = VforkLibc.syscall(Processor.SYS_rt_sigprocmask, setMask, (nint)(&before), 0, sizeof(ulong));
        return pid;
    }

    /// <summary>Makes a child that executes nothing, and takes its end.</summary>
    /// <returns>Whether there was one.</returns>
    public static bool Run(delegate* unmanaged[Cdecl]<void*, int> begin, int flags, void* argument)
    {
        int pid = Start(begin, flags, argument), status;
        if (pid < 0)
            return false;
        while (Libc.wait4(pid, &status, 0, null) < 0 && Libc.Errno == Libc.EINTR)
        {
        }

        return true;
    }
}
