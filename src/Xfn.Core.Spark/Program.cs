using Xfn.Core.Interop;
using Xfn.Core.Spark;
using Xfn.Core.Spark.Containers;
using Xfn.Core.Spark.Interop;
using Xfn.Core.Spark.Run;

// PID 1 of a user, mount and PID namespace that the runner made. `xfn-spark run` makes a function's pipes and runs one container;
// `xfn-spark prepare` does so up to the function's execution, and waits for its release; `xfn-spark work` does one piece of work on the store. See SparkMessages.cs for what is said.
try
{
    // What it was executed by, as the contract of INamespaceSpawner says. The kernel named the process after that.
    const int executable = 3;
    _ = Libc.close(executable);
    Identity.NameProcess("xfn-spark\0"u8);

    // The runner may ignore SIGCHLD, and that is inherited: children would then be reaped by nobody, and never waited for.
    Libc.signal(Libc.SIGCHLD, 0);
    FunctionPipes? pipes = args is ["run" or "prepare"] ? new FunctionPipes(args[0] == "prepare") : null;
    (int stdin, int stdout, int stderr) = pipes?.Runner ?? (-1, -1, -1);
    RunnerChannel.Send(new SparkHello(SelfAsSeenOutside(), stdin, stdout, stderr, pipes?.RunnerRelease ?? -1));
    switch (RunnerChannel.Receive())
    {
        case null:
            return 1;
        case SparkRun run when pipes is not null:
            ContainerRun.Execute(run, pipes);
            return 0;
        case SparkReadFiles files:
            RunnerChannel.Send(FileReader.Read(files));
            return 0;
        case SparkFindDirectories directories:
            RunnerChannel.Send(FileReader.Find(directories));
            return 0;
        case SparkUnpack unpack:
            RunnerChannel.Send(LayerCommands.Unpack(unpack));
            return 0;
        case SparkFlatten flatten:
            RunnerChannel.Send(LayerCommands.Flatten(flatten));
            return 0;
        case SparkRemove remove:
            RunnerChannel.Send(LayerCommands.Remove(remove));
            return 0;
        case object message:
            throw new SparkException(SparkFailureKind.Environment, $"cannot do {message.GetType().Name} in this mode");
    }
}
catch (SparkException failure)
{
    RunnerChannel.Send(failure.Failure);
    return 1;
}

// /proc is still that of the runner, so its self is this process's id out there.
static int SelfAsSeenOutside() =>
    int.Parse(new FileInfo("/proc/self").LinkTarget ?? throw new SparkException(SparkFailureKind.Environment, "cannot read /proc/self: is /proc mounted?"));
