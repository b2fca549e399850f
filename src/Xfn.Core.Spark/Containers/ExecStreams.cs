using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>What a further process has as stdin, stdout and stderr, and the runner's ends of it, which do not block.
/// </summary>
internal sealed unsafe class ExecStreams(int stdin, int stdout, int stderr, int[] runner)
{
    public (int Stdin, int Stdout, int Stderr) Process => (stdin, stdout, stderr);

    public int[] Runner => runner;

    public static ExecStreams MakePipes()
    {
        const int pipes = 3;
        Span<int> process = [-1, -1, -1];
        int[] runner = [-1, -1, -1];
        int* ends = stackalloc int[2];
        for (int i = 0; i < pipes; i++)
        {
            // As the pipes of a container's first process: open to all who can name them.
            if (Libc.pipe2(ends, Libc.O_CLOEXEC) != 0 || Libc.fchmod(ends[0], 0b110_110_110) != 0)
            {
                int errno = Libc.Errno;
                Close(process);
                Close(runner);
                throw SparkException.FromErrno("cannot make a pipe", errno);
            }

            (process[i], runner[i]) = i == 0 ? (ends[0], ends[1]) : (ends[1], ends[0]);
            _ = Libc.fcntl(runner[i], Libc.F_SETFL, Libc.O_NONBLOCK);
        }

        return new ExecStreams(process[0], process[1], process[2], runner);
    }

    /// <summary>To be called when the process has its own.</summary>
    public void CloseProcess() => Close(stdin == stdout ? [stdin] : [stdin, stdout, stderr]);

    public void CloseRunner() => Close(runner);

    private static void Close(ReadOnlySpan<int> descriptors)
    {
        foreach (int descriptor in descriptors)
        {
            if (descriptor >= 0)
                _ = Libc.close(descriptor);
        }
    }
}
