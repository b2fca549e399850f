using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>What a further process of a container does before it executes its program, by the rules of
/// <see cref="ContainerInit"/>.</summary>
/// <remarks>Two processes do it. The first shares spark's memory, and stays in spark's PID namespace, where no process
/// of the container sees it. It enters the other namespaces, and gives up all that a process of the container has not:
/// descriptors, ids, capabilities. Only then it makes the second one in the container's PID namespace, with a copy of
/// the memory. What the container sees of it before it executes its program has no more rights than itself, nothing of
/// spark's, and may not be opened.</remarks>
internal static unsafe class ContainerEntry
{
    private const int StatusFd = 3;

    /// <param name="argument">A <see cref="ContainerPlan"/>.</param>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Begin(void* argument)
    {
        var plan = (ContainerPlan*)argument;
        if (ContainerInit.LeaveCaller(plan)
            && ContainerInit.Check(plan, ContainerStage.Enter, null, VforkLibc.setns(plan->Container, Namespaces(plan)))
            && ContainerInit.HandStreams(plan) && CloseOthers(plan)
            && ContainerInit.SetLimits(plan) && ContainerInit.DropPrivileges(plan))
        {
            Divide(plan);
        }

        return (int)VforkLibc.syscall(Processor.SYS_exit_group, 0);
    }

    private static int Namespaces(ContainerPlan* plan) =>
        Libc.CLONE_NEWNS | Libc.CLONE_NEWCGROUP | Libc.CLONE_NEWUTS | Libc.CLONE_NEWIPC | Libc.CLONE_NEWPID | (plan->OwnNetwork ? Libc.CLONE_NEWNET : 0);

    private static bool CloseOthers(ContainerPlan* plan) =>
        (plan->Status == StatusFd || ContainerInit.Hand(plan, plan->Status, StatusFd, Libc.O_CLOEXEC))
        && ContainerInit.Check(plan, ContainerStage.Descriptors, null, VforkLibc.close_range(StatusFd + 1, uint.MaxValue));

    /// <summary>Makes the process. It is spark's child, as its maker is.</summary>
    private static void Divide(ContainerPlan* plan)
    {
        int pid = (int)VforkLibc.syscall(Processor.SYS_clone, Libc.CLONE_PARENT | Libc.SIGCHLD);
        if (pid != 0)
        {
            plan->ProcessId = pid;
            _ = ContainerInit.Check(plan, ContainerStage.Process, null, pid);
            return;
        }

        if (ContainerInit.Check(plan, ContainerStage.Session, null, VforkLibc.setsid()) && ContainerTerminal.Control(plan))
            _ = ContainerInit.Execute(plan);
        var failure = new EntryFailure { Stage = plan->Stage, Error = plan->Error };
        _ = VforkLibc.write(StatusFd, (byte*)&failure, (nuint)sizeof(EntryFailure));
        _ = VforkLibc.syscall(Processor.SYS_exit_group, 127);
    }
}

/// <summary>How a further process tells through a pipe that it did not become its program.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EntryFailure
{
    public ContainerStage Stage;
    public int Error;
}
