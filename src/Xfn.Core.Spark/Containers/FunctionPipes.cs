using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>A function's pipes, both ends of each.</summary>
/// <param name="prepare">Whether there is one more, by which the runner says when to execute the function.</param>
internal sealed unsafe class FunctionPipes(bool prepare)
{
    private readonly Pipe? _release = prepare ? Pipe.Make() : null;
    private readonly Pipe _stdin = Pipe.Make();
    private readonly Pipe _stdout = Pipe.Make();
    private readonly Pipe _stderr = Pipe.Make();

    /// <summary>The function's descriptors 0, 1 and 2.</summary>
    public (int Stdin, int Stdout, int Stderr) Function => (_stdin.Read, _stdout.Write, _stderr.Write);

    /// <summary>The ends that the runner opens for itself.</summary>
    public (int Stdin, int Stdout, int Stderr) Runner => (_stdin.Write, _stdout.Read, _stderr.Read);

    /// <summary>The gate's end of the pipe that releases it.</summary>
    public int Release => _release?.Read ?? throw new SparkException(SparkFailureKind.Environment, "cannot prepare a container in this mode");

    /// <summary>The end that the runner opens for itself; -1 where there is no gate.</summary>
    public int RunnerRelease => _release?.Write ?? -1;

    /// <summary>Call it when the runner has opened its ends: stdin ends only when nobody else holds its end.</summary>
    public void CloseRunner()
    {
        Close(Runner);
        if (_release is { } release)
            Libc.close(release.Write);
    }

    /// <summary>To be called when the container has its ends.</summary>
    public void CloseFunction() => Close(Function);

    private static void Close((int Stdin, int Stdout, int Stderr) fds)
    {
        Libc.close(fds.Stdin);
        Libc.close(fds.Stdout);
        Libc.close(fds.Stderr);
    }

    private readonly record struct Pipe(int Read, int Write)
    {
        public static Pipe Make()
        {
            int* ends = stackalloc int[2];

            // Open to all who can name it: a function that is not root reopens /dev/stdin, perhaps another user's pipe.
            if (Libc.pipe2(ends, Libc.O_CLOEXEC) != 0 || Libc.fchmod(ends[0], 0b110_110_110) != 0)
                throw SparkException.FromErrno("cannot make a pipe");
            return new Pipe(ends[0], ends[1]);
        }
    }
}
