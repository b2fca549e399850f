using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Run;

/// <summary>One run: the root is mounted, the OCI runtime starts the container and leaves, this spark waits for the container's end.</summary>
internal static class ContainerRun
{
    public static void Execute(SparkRun run, Stdio stdio)
    {
        stdio.CloseRunner();

        // Before the ids change: the directories above the store may be the caller's alone.
        if (Libc.chdir(run.StoreDirectory) != 0)
            throw SparkException.FromErrno($"cannot enter '{run.StoreDirectory}'");
        Identity.BecomeRoot();
        Workspace workspace = Workspace.Mount(run.Runtime, run.OuterProc);
        if (run.FlattenedDirectory.Length > 0)
        {
            FlattenedRoot.Mount(workspace, "rootfs", run.FlattenedDirectory, run.WritableRootBytes);
        }
        else
        {
            var skeleton = new Skeleton
            {
                MountPoints = run.MountPoints,
                FileMountPoints = run.FileMountPoints,
                Directories = run.Directories,
                RootMode = run.RootMode,
                RootUid = run.RootUid,
                RootGid = run.RootGid,
            };
            RootFileSystem.Mount(workspace, "rootfs", run.LowerDirectories, skeleton, run.WritableRootBytes);
        }

        // A function in a namespace of its own would be root of it, with all of the kernel that is open to roots only. The runtime needs no further one.
        ForbidUserNamespaces(run.OuterProc);
        File.WriteAllBytes(workspace["config.json"], run.RuntimeConfig.Span);

        Gate? gate = run.GateArguments.Count > 0 ? Gate.Make(stdio.Release, run.GateArguments, run.GateEnvironment, workspace["gate"]) : null;
        ChildProcess container = Start(run, workspace, stdio, gate);
        stdio.CloseFunction();
        if (gate is not null)
        {
            gate.WaitUntilReady();
            container.Follow();
            Control.Send(new SparkStarted());
        }
        else
        {
            Control.Send(new SparkStarted());
            container.Follow();
        }

        // When the first process of the container has ended, the kernel has ended all others of its PID namespace: the output is complete.
        container.WaitForEnd();

        // The runtime had gone by then, so it was its last process that found out, and said so on what was to be the function's stderr.
        bool executed = gate is not null || container.HasExecuted();
        ChildExit exit = container.ReadExit();
        if (!executed)
            throw new SparkException(SparkFailureKind.Entrypoint, $"the runtime ended with status {exit.Code} before it executed the function");
        long setup = gate?.Check() ?? 0;
        Control.Send(new SparkExited(exit.Code, exit.Signal, exit.Usage.CpuMicroseconds - setup, exit.Usage.MaxResidentKibibytes << 10));
    }

    private static void ForbidUserNamespaces(bool outerProc)
    {
        try
        {
            File.WriteAllText("/proc/sys/user/max_user_namespaces", "0");
        }
        catch (IOException) when (outerProc)
        {
            // A container engine has the outer /proc/sys read-only, for good. What remains is the seccomp profile, which forbids them too.
        }
    }

    /// <summary>Has the runtime start the container and leave it to this spark, which as PID 1 of its namespace becomes its parent.</summary>
    private static ChildProcess Start(SparkRun run, Workspace workspace, Stdio stdio, Gate? gate)
    {
        string log = workspace["log"];
        string pidFile = workspace["pid"];
        Libc.chdir("/");
        ChildProcess runtime = ChildProcess.Start(
            run.Runtime,
            [
                .. run.RuntimeFlags, "--root", workspace.NewDirectory("state"), "--log", log, "--log-format", "json",
                "run", "--detach", "--pid-file", pidFile, "--bundle", workspace[""], "--preserve-fds", $"{gate?.Descriptors.Length ?? 0}", "xfn",
            ],
            ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            stdio.Function,
            gate?.Descriptors);
        ChildExit exit = runtime.Wait();
        if (exit.Status != 0)
        {
            string said = File.Exists(log) ? File.ReadAllText(log) : "";
            throw new SparkException(SparkFailureKind.Runtime, said.Length > 0 ? said : $"it ended with status {exit.Code}");
        }

        return new ChildProcess(int.Parse(File.ReadAllText(pidFile)));
    }
}
