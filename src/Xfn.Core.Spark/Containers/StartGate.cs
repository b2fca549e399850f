using System.Runtime.InteropServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>What a gate tells its spark.</summary>
internal enum GateState
{
    /// <summary>Nothing: it has ended, or has become the function.</summary>
    Gone,

    /// <summary>It waits. The value is the processor time it has used, in microseconds.</summary>
    Ready,

    /// <summary>It was released, and executes the function.</summary>
    Released,

    /// <summary>It could not. The value is the error number.</summary>
    NotExecuted,
}

/// <summary>A <see cref="GateState"/> as it goes through a pipe.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GateRecord
{
    public long State;
    public long Value;
}

/// <summary>The spark's side of a container whose function is executed later. All else is done: its first process is
/// the <see cref="GateStub"/>, which waits for the runner's word to become the function.</summary>
internal sealed unsafe class StartGate
{
    // The descriptors that the stub has; 3 is the stub itself.
    public const int ReleaseFd = 4;
    public const int StatusFd = 6;

    private readonly int _status;
    private long _setupMicroseconds;

    private StartGate(int stub, int release, int statusTo, int statusFrom) => (Stub, Release, Status, _status) = (stub, release, statusTo, statusFrom);

    /// <summary>The <see cref="GateStub"/>, as a file.</summary>
    public int Stub { get; }

    /// <summary>The end of a pipe that says when.</summary>
    public int Release { get; }

    /// <summary>The end of a pipe by which the gate tells its state.</summary>
    public int Status { get; }

    /// <param name="release">The end of a pipe that says when.</param>
    /// <param name="stub">A path for the <see cref="GateStub"/>: anonymous memory may be forbidden to execute.</param>
    public static StartGate Make(int release, string stub)
    {
        int* status = stackalloc int[2];
        File.WriteAllBytes(stub, GateStub.Image);
        File.SetUnixFileMode(stub, (UnixFileMode)0b111_101_101);
        int file = Libc.open(stub, Libc.O_PATH | Libc.O_CLOEXEC);
        if (file < 0 || Libc.pipe2(status, Libc.O_CLOEXEC) != 0)
            throw SparkException.FromErrno("cannot make a gate");
        return new StartGate(Move(file), Move(release), Move(status[1]), status[0]);
    }

    /// <summary>Waits until the gate can be released. Ends this process when the runner is gone.</summary>
    public void WaitUntilReady()
    {
        foreach (int descriptor in (ReadOnlySpan<int>)[Stub, Release, Status])
            Libc.close(descriptor);
        if (!RunnerChannel.WaitFor(_status, "the gate"))
            Environment.Exit(1);
        _setupMicroseconds = Read() is (GateState.Ready, var microseconds)
            ? microseconds
            : throw new SparkException(SparkFailureKind.Environment, "the gate ended before it was ready");
    }

    /// <summary>To be called when the container has ended.</summary>
    /// <returns>The processor time that was not the function's.</returns>
    /// <exception cref="SparkException">The function could not be executed, or was not released.</exception>
    public long Check()
    {
        if (Read().State != GateState.Released)
            throw new SparkException(SparkFailureKind.NotReleased, "the container ended while it waited");
        return Read() is (GateState.NotExecuted, var errno)
            ? throw SparkException.FromErrno("it cannot be executed", (int)errno, SparkFailureKind.Entrypoint)
            : _setupMicroseconds;
    }

    /// <summary>Moves it above the stub's numbers but below 64: the table never shrinks, and FDSize shows it.</summary>
    private static int Move(int descriptor)
    {
        int moved = Libc.fcntl(descriptor, Libc.F_DUPFD_CLOEXEC, 16);
        if (moved < 0)
            throw SparkException.FromErrno("cannot make a gate");
        Libc.close(descriptor);
        return moved;
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
