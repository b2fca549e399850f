using System.Text;
using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>The spark's side of a gate: this executable, run as the first process of a container whose function is to be executed later. All that a runtime does has been done to it by
/// then; it waits for the runner's word and becomes the function.</summary>
internal sealed unsafe class Gate
{
    private readonly int _status;
    private readonly List<int> _descriptors;
    private long _setupMicroseconds;

    private Gate(int waiting, int release, int statusTo, int statusFrom) =>
        (Waiting, Release, Status, _status, _descriptors) = (waiting, release, statusTo, statusFrom, [waiting, release, statusTo]);

    /// <summary><see cref="WaitingProgram"/>.</summary>
    public int Waiting { get; }

    /// <summary>The end of a pipe that says when.</summary>
    public int Release { get; }

    /// <summary>The end of a pipe by which the gate tells its state.</summary>
    public int Status { get; }

    /// <param name="release">The end of a pipe that says when.</param>
    /// <param name="waitingProgram">A path for <see cref="WaitingProgram"/>. No descriptor of anonymous memory: a machine may forbid to execute it.</param>
    public static Gate Make(int release, string waitingProgram)
    {
        int* status = stackalloc int[2];
        File.WriteAllBytes(waitingProgram, WaitingProgram.Image);
        File.SetUnixFileMode(waitingProgram, (UnixFileMode)0b111_101_101);
        int waiting = Libc.open(waitingProgram, Libc.O_PATH | Libc.O_CLOEXEC, 0);
        if (waiting < 0 || Libc.pipe2(status, Libc.O_CLOEXEC) != 0)
            throw SparkException.FromErrno("cannot make a gate");
        return new Gate(Move(waiting), Move(release), Move(status[1]), status[0]);
    }

    /// <summary>What the process is to have from descriptor 3 on when an OCI runtime starts it, which executes <see cref="GateProcess"/> in place of the function.</summary>
    /// <param name="arguments">The function's.</param>
    /// <param name="environment">Likewise, <c>NAME=VALUE</c>.</param>
    public int[] DescriptorsForRuntime(IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        // This executable, by a descriptor, so that the root need not hold it.
        int program = Libc.open("/proc/self/exe", Libc.O_PATH | Libc.O_CLOEXEC, 0);
        if (program < 0)
            throw SparkException.FromErrno("cannot make a gate");
        int[] added = [Move(program), Move(Write(arguments, environment))];
        _descriptors.AddRange(added);
        return [added[0], Release, added[1], Status, Waiting];
    }

    /// <summary>Waits until the gate can be released. Ends this process when the runner is gone.</summary>
    public void WaitUntilReady()
    {
        foreach (int descriptor in _descriptors)
            Libc.close(descriptor);
        Libc.PollFd* fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _status, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = RunnerChannel.InputFd, Events = Libc.POLLIN };
        while (Libc.poll(fds, 2, -1) < 0)
        {
            if (Libc.Errno != Libc.EINTR)
                throw SparkException.FromErrno("cannot wait for the gate");
        }

        if (fds[0].Returned == 0)
            Environment.Exit(1);
        switch (Read())
        {
            case (GateState.Ready, var microseconds):
                _setupMicroseconds = microseconds;
                return;
            case (GateState.NotExecuted, var errno):
                throw NotExecuted((int)errno);
            default:
                throw new SparkException(SparkFailureKind.Environment, "the gate ended before it was ready");
        }
    }

    /// <summary>To be called when the container has ended.</summary>
    /// <returns>The processor time that was not the function's.</returns>
    /// <exception cref="SparkException">There was no function: it could not be executed, or it was not released.</exception>
    public long Check()
    {
        if (Read().State != GateState.Released)
            throw new SparkException(SparkFailureKind.NotReleased, "the container ended while it waited");
        return Read() is (GateState.NotExecuted, var errno) ? throw NotExecuted((int)errno) : _setupMicroseconds;
    }

    private static SparkException NotExecuted(int errno) => SparkException.FromErrno("it cannot be executed", errno, SparkFailureKind.Entrypoint);

    /// <summary>Out of the way of the numbers that the descriptors are to have, but below 64: a table that has had more stays larger, and the function could tell by its FDSize.</summary>
    private static int Move(int descriptor)
    {
        int moved = Libc.fcntl(descriptor, Libc.F_DUPFD_CLOEXEC, 16);
        if (moved < 0)
            throw SparkException.FromErrno("cannot make a gate");
        Libc.close(descriptor);
        return moved;
    }

    /// <summary>A pipe would not do: it holds too little.</summary>
    private static int Write(IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        int file = Libc.memfd_create("gate", Libc.MFD_CLOEXEC);
        byte[] text = Encoding.UTF8.GetBytes(string.Join('\0', [$"{arguments.Count}", $"{environment.Count}", .. arguments, .. environment, ""]));
        fixed (byte* bytes = text)
        {
            if (file < 0 || Libc.pwrite(file, bytes, (nuint)text.Length, 0) != text.Length)
                throw SparkException.FromErrno("cannot make a gate");
        }

        return file;
    }

    private (GateState State, long Value) Read()
    {
        GateRecord record;
        nint count;
        while ((count = Libc.read(_status, (byte*)&record, (nuint)sizeof(GateRecord))) < 0 && Libc.Errno == Libc.EINTR)
        {
        }

        return count == sizeof(GateRecord) ? ((GateState)record.State, record.Value) : (GateState.Gone, 0);
    }
}
