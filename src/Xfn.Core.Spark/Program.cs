using System.Buffers.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Containers;
using Xfn.Core.Spark.Mounts;
using Xfn.Core.Spark.Run;

// PID 1 of a user, mount and PID namespace. `xfn-spark run` makes a function's pipes and runs one container; `prepare`
// waits for a release before it executes the function; `work` does one job on the store. See SparkMessages.cs. A spark
// starts `copy-in` and `copy-out` itself, to copy into a container and out of it. `spawn` is none of these: it makes
// them, by copies of itself that go on here.
try
{
    if (args is [SparkMode.CopyIn or SparkMode.CopyOut, var path, var maxBytes, var maxEntries])
    {
        RunnerChannel.Send(CopyCommands.Copy(args[0], path, maxBytes, maxEntries));
        return 0;
    }

    if (args is [SparkMode.Spawn] && !ForkServer.Restrict())
        return 1;

    // What it was executed by, as the contract of INamespaceSpawner says. The kernel named the process after that.
    const int executable = 3;
    _ = Libc.close(executable);
    SparkNamespace.NameProcess("xfn-spark\0"u8);
    string mode = args is [var given] ? given : "";
    if (mode == SparkMode.SpawnRestricted)
    {
        if (ForkServer.Serve() is not { } copy)
            return 0;
        mode = copy;
    }

    // The runner may ignore SIGCHLD, and that is inherited: no child could then be waited for.
    Libc.signal(Libc.SIGCHLD, 0);
    FunctionPipes? pipes = mode is SparkMode.Run or SparkMode.Prepare ? new FunctionPipes(mode == SparkMode.Prepare) : null;
    (int stdin, int stdout, int stderr) = pipes?.Runner ?? (-1, -1, -1);
    RunnerChannel.Send(new SparkHello(SelfAsSeenOutside(), stdin, stdout, stderr, pipes?.RunnerRelease ?? -1));
    object? message = RunnerChannel.Receive();
    if (message is SparkSettle settle)
    {
        var sources = MountSources.Of(settle.Paths);

        // It may wait long for its run, which is told what is wrong.
        SparkException? obstacle = SparkNamespace.TrySettle();
        message = RunnerChannel.Receive();
        if (message is SparkRun run && pipes is not null)
        {
            ContainerRun.Execute(run, pipes, sources, obstacle);

            // At its ordinary end the .NET runtime would still make what it waits for threads with.
            Libc.syscall(Processor.SYS_exit_group, 0);
        }
    }

    if (message is null)
        return 1;
    RunnerChannel.Send(message switch
    {
        SparkReadFiles files => (object)FileReader.Read(files),
        SparkFindDirectories directories => FileReader.Find(directories),
        SparkUnpack unpack => LayerCommands.Unpack(unpack),
        SparkFlatten flatten => LayerCommands.Flatten(flatten),
        SparkRemove remove => LayerCommands.Remove(remove),
        _ => throw new SparkException(SparkFailureKind.Environment, $"cannot do {message.GetType().Name} in this mode"),
    });
    return 0;
}
catch (SparkException failure)
{
    RunnerChannel.Send(failure.Failure);
    return 1;
}

// /proc is still that of the runner, so its self is this process's id out there.
static int SelfAsSeenOutside()
{
    Span<byte> id = stackalloc byte[16];
    nint length = Libc.readlinkat(Libc.AT_FDCWD, "/proc/self"u8, id, (nuint)id.Length);
    return length > 0 && Utf8Parser.TryParse(id[..(int)length], out int number, out _)
        ? number
        : throw new SparkException(SparkFailureKind.Environment, "cannot read /proc/self: is /proc mounted?");
}
