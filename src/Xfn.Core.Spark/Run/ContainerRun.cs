using Xfn.Core.Spark.Containers;
using Xfn.Core.Spark.Interop;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Run;

/// <summary>One run: the root is mounted, the container is started, this spark waits for the container's end.</summary>
internal static class ContainerRun
{
    private const string Root = "rootfs";

    public static void Execute(SparkRun run, FunctionPipes pipes)
    {
        pipes.CloseRunner();

        // Before the ids change: the directories above the store may be the caller's alone.
        if (Libc.chdir(run.StoreDirectory) != 0)
            throw SparkException.FromErrno($"cannot enter '{run.StoreDirectory}'");
        Identity.BecomeRoot();
        HostMounts.MakeReadOnly(run.OuterProc);
        ScratchTmpfs workspace = ScratchTmpfs.Mount(run.Runtime, run.OuterProc);
        IReadOnlyList<ContainerFile> unplaced = run.Files;
        if (run.FlattenedDirectory.Length > 0)
        {
            FlattenedRoot.Mount(workspace, Root, run.FlattenedDirectory, run.WritableRootBytes);
        }
        else
        {
            var skeleton = new MountPointTree
            {
                MountPoints = run.MountPoints,
                FileMountPoints = run.FileMountPoints,
                Directories = run.Directories,
                Files = run.Files,
                RootMode = run.RootMode,
                RootUid = run.RootUid,
                RootGid = run.RootGid,
            };
            RootFileSystem.Mount(workspace, Root, run.LowerDirectories, skeleton, run.WritableRootBytes);
            unplaced = skeleton.Unplaced;
        }

        RootFiles.Bind(workspace, workspace[Root], unplaced, writable: run.WritableRootBytes > 0);
        Volumes.Mount(workspace, workspace[Root], run.Volumes, run.VolumeBytes);
        NamespaceLimits.Set(run.OuterProc);

        StartGate? gate = run.HasGate ? StartGate.Make(pipes.Release, workspace["gate"]) : null;
        StartedContainer container = run.Container.IsEmpty
            ? OciRuntime.Start(run, workspace, pipes)
            : new CloneRuntime((SparkContainer)SparkFrame.Read(SparkMessageKind.Container, run.Container.Span)).Start(workspace[Root], pipes, gate);
        pipes.CloseFunction();
        if (gate is not null)
        {
            gate.WaitUntilReady();
            container.Process.Follow();
            RunnerChannel.Send(new SparkStarted());
        }
        else
        {
            RunnerChannel.Send(new SparkStarted());
            container.Process.Follow();
        }

        // When the first process of the container has ended, the kernel has ended all others of its PID namespace: the output is complete.
        container.Process.WaitForEnd();
        bool executed = container.IsExecuted || container.Process.HasExecuted();
        ChildExit exit = container.Process.ReadExit();
        if (!executed)
            throw new SparkException(SparkFailureKind.Entrypoint, $"the runtime ended with status {exit.Code} before it executed the function");
        long setup = gate?.Check() ?? container.SetupMicroseconds;
        RunnerChannel.Send(new SparkExited(exit.Code, exit.Signal, exit.Usage.CpuMicroseconds - setup, exit.Usage.MaxResidentKibibytes << 10));
    }
}
