using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Containers;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Run;

/// <summary>One run: the root is mounted, the container is started, this spark waits for the container's end.</summary>
internal static class ContainerRun
{
    private const string Root = "rootfs";

    /// <summary>Executes a run in a spark that has settled.</summary>
    /// <param name="run">The run. Its layers' paths start from the working directory.</param>
    /// <param name="pipes">The function's pipes.</param>
    /// <param name="sources">What was opened to be mounted.</param>
    /// <param name="obstacle">What kept the spark from settling; null when nothing did.</param>
    public static void Execute(SparkRun run, FunctionPipes pipes, MountSources sources, SparkException? obstacle)
    {
        pipes.CloseRunner();

        if (obstacle is not null && !run.OuterProc)
            throw obstacle;
        if (obstacle is not null)
            SparkNamespace.Settle(outerProc: true);
        if (run.Runtime.Length > 0)
            SparkNamespace.ShowPureCgroups();
        ScratchTmpfs scratch = ScratchTmpfs.Mount(run.Runtime);
        sources.Make(scratch, run.Sources);
        IReadOnlyList<SparkRootFile> unplaced = run.Root.Files;
        if (run.FlattenedDirectory.Length > 0)
        {
            FlattenedRoot.Mount(scratch, Root, run.FlattenedDirectory, run.WritableRootBytes);
        }
        else
        {
            var tree = new MountPointTree(run.Root);
            RootFileSystem.Mount(scratch, Root, tree, run.WritableRootBytes);
            unplaced = tree.Unplaced;
        }

        if (unplaced.Count > 0)
            RootFiles.Bind(scratch, scratch[Root], unplaced, writable: run.WritableRootBytes > 0);
        if (run.Volumes.Count > 0)
            Volumes.Mount(scratch, scratch[Root], run.Volumes, run.VolumeBytes);

        StartGate? gate = run.HasGate ? StartGate.Make(pipes.Release, scratch["gate"]) : null;
        SparkContainer? specification = run.Container.IsEmpty ? null : SparkFrame.Read<SparkContainer>(run.Container);
        StartedContainer container = specification is null
            ? OciRuntime.Start(run, scratch, pipes)
            : new CloneRuntime(specification, run.OpensLowPorts).Start(scratch[Root], pipes, gate, (run.Rows, run.Columns));
        pipes.CloseFunction();
        if (gate is not null)
        {
            gate.WaitUntilReady();
            container.Process.Follow();
            RunnerChannel.Send(new SparkStarted(container.Process.Descriptor, container.Terminal));
        }
        else
        {
            RunnerChannel.Send(new SparkStarted(container.Process.Descriptor, container.Terminal));
            container.Process.Follow();
        }

        // With the first process, the kernel has ended all others of its PID namespace: the output is complete.
        object? request = container.Process.WaitForEnd();
        if (request is not null || container.Terminal >= 0)
            new LivingContainer(container, specification, scratch[Root], EtcHosts.Find(scratch, run, unplaced)).Serve(request);

        bool executed = container.IsExecuted || container.Process.HasExecuted();
        ChildExit exit = container.Process.ReadExit();
        if (!executed)
            throw new SparkException(SparkFailureKind.Entrypoint, $"the runtime ended with status {exit.Code} before it executed the function");
        long setup = gate?.Check() ?? container.SetupMicroseconds;
        RunnerChannel.Send(new SparkExited(exit.Code, exit.Signal, exit.Usage.CpuMicroseconds - setup, exit.Usage.MaxResidentKibibytes << 10));
    }
}
