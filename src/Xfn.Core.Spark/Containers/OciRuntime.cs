using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Containers;

/// <summary>An OCI runtime, such as crun: it starts the container, whose parent this spark becomes as PID 1.</summary>
internal static class OciRuntime
{
    /// <summary>Starts the container's first process, the function.</summary>
    /// <param name="run">The runtime, and what it reads.</param>
    /// <param name="scratch">Where it works.</param>
    /// <param name="pipes">The function's pipes.</param>
    /// <exception cref="SparkException">The runtime failed.</exception>
    public static StartedContainer Start(SparkRun run, ScratchTmpfs scratch, FunctionPipes pipes)
    {
        File.WriteAllBytes(scratch["config.json"], run.RuntimeConfig.Span);
        string log = scratch["log"];
        string pidFile = scratch["pid"];
        ChildProcess runtime = ChildProcess.Start(
            run.Runtime,
            [
                .. run.RuntimeFlags, "--root", scratch.NewDirectory("state"), "--log", log, "--log-format", "json",
                "run", "--detach", "--pid-file", pidFile, "--bundle", scratch[""], "xfn",
            ],
            ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            pipes.Function);
        ChildExit exit = runtime.Wait();
        if (exit.Status != 0)
        {
            string said = File.Exists(log) ? File.ReadAllText(log) : "";
            throw new SparkException(SparkFailureKind.Runtime, said.Length > 0 ? said : $"it ended with status {exit.Code}");
        }

        // It has gone by now. If the function cannot be executed, its last process says so on the function's stderr.
        return new StartedContainer(new ChildProcess(int.Parse(File.ReadAllText(pidFile))), IsExecuted: false, SetupMicroseconds: 0);
    }
}
